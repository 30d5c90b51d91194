/**
 * All batches that a worker opens between two hand-overs, and who waits for them: a row a waiter,
 * in arrival order, so that nothing is allocated a ping.
 */
import type { Slab } from "./slab.ts";

/** Whoever is told what became of a send. `refusal` is null when it is in the log at its level. */
export interface Waiter {
  settle(tag: number, submission: Submission | null, first: number, refusal: Refusal | null): void;
}
export type Refusal = "disk_full" | "timeout" | "topic_missing" | "io" | "shutdown";

const REFUSALS: readonly Refusal[] = ["disk_full", "timeout", "topic_missing", "io", "shutdown"];
export const refusalIndex = (code: string): number => {
  const i = REFUSALS.indexOf(code as Refusal);
  return i < 0 ? REFUSALS.indexOf("io") : i;
};

export class Submission {
  slab: Slab;
  slabIndex: number;
  openedMs = 0;
  bytes = 0;
  batches = 0;
  /** Bytes of sealed batches in the slab. */
  written = 0;
  settled = false;
  /** Where each record went: batch and index in the batch, two words a record. */
  refs = new Int32Array(1024);
  refCount = 0;
  waiters: Waiter[] = [];
  /** Per waiter: its tag and the first of its refs; they end where the next waiter's begin. */
  tags = new Int32Array(1024);
  waiterCount = 0;

  constructor(slab: Slab, slabIndex: number) {
    this.slab = slab;
    this.slabIndex = slabIndex;
  }

  get empty(): boolean {
    return this.refCount === 0 && this.waiterCount === 0;
  }
  partitionOf(ref: number): number {
    return this.slab.partitionOf(this.refs[ref * 2]);
  }
  offsetOf(ref: number): number {
    return this.slab.baseOffsetOf(this.refs[ref * 2]) + this.refs[ref * 2 + 1];
  }

  reset(): void {
    this.bytes = 0;
    this.batches = 0;
    this.written = 0;
    this.settled = false;
    this.refCount = 0;
    this.waiters.length = 0;
    this.waiterCount = 0;
    this.slab.batches = 0;
  }
}

/** Why any of the refs was refused, or null. */
export function refusalOf(s: Submission, from: number, to: number): Refusal | null {
  for (let r = from; r < to; r++) {
    const error = s.slab.errorOf(s.refs[r * 2]);
    if (error >= 0) return REFUSALS[error];
  }
  return null;
}
