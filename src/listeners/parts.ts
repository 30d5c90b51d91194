import assert from "node:assert/strict";
import type { LogProducer } from "../log/producer.ts";
import type { Refusal, Submission, Waiter } from "../log/submission.ts";
import type { ErrorCode } from "../model/errors.ts";
import type { Done, FrameResult, Rejection } from "./intake-types.ts";
import type { Routes } from "./routes.ts";

/**
 * A body's pings and what becomes of them. A body may straddle two submissions; then it waits on
 * both, and `done` comes with the last.
 */
export class Parts implements Waiter {
  readonly #done: Done;
  readonly #ack: { n: number };
  /** Where the log has a ping is where its readers find it. */
  readonly #isPlaced: boolean;
  readonly #result: FrameResult = { accepted: 0, rejected: [], p: [] };
  /** Refs per ping of the part under way: n > 0 accepted, n <= 0 rejected with -n refs. */
  #open: number[] | null = null;
  readonly #parts: number[][] = [];
  #refusal: ErrorCode | null = null;
  #item = 0;
  #first = 0;
  #producer: LogProducer | null = null;
  #submission: Submission | null = null;
  #copies = 0;
  #rejectCopies = 0;

  constructor(done: Done, ack: { n: number }, isPlaced: boolean) {
    this.#done = done;
    this.#ack = ack;
    this.#isPlaced = isPlaced;
  }

  begin(producer: LogProducer, routes: Routes): void {
    if (this.#open !== null) return;
    this.#producer = producer;
    this.#submission = producer.open;
    this.#open = [];
    this.#first = producer.nextRef;
    this.#copies = routes.positions.length;
    this.#rejectCopies = routes.rejects.length;
  }
  accepted(): void {
    this.#item++;
    this.#open?.push(this.#copies);
  }
  rejected(reason: ErrorCode): void {
    const rejection: Rejection = { i: this.#item++, reason };
    this.#result.rejected.push(rejection);
    this.#open?.push(-this.#rejectCopies);
  }
  event(copies: number): void {
    this.#item++;
    this.#open?.push(copies);
  }
  /** What follows goes into another submission. */
  cut(): void {
    if (this.#open === null) return;
    // else the answer would speak of somebody else's records
    assert(this.#producer?.open === this.#submission, "a part in two submissions");
    this.#parts.push(this.#open);
    this.#producer?.wait(this, this.#parts.length - 1, this.#first);
    this.#open = null;
  }
  end(): void {
    this.cut();
  }

  settle(tag: number, s: Submission | null, first: number, refusal: Refusal | null): void {
    this.#refusal ??= refusal;
    let ref = first;
    if (s !== null && this.#refusal === null) {
      for (const refs of this.#parts[tag]) {
        if (refs > 0) {
          this.#result.accepted++;
          this.#result.p.push([s.partitionOf(ref), s.offsetOf(ref)]);
        } else this.#result.p.push(null);
        ref += Math.abs(refs);
      }
    }
    if (tag < this.#parts.length - 1) return;
    if (this.#refusal !== null) return this.#done(null, this.#refusal);
    this.#ack.n++;
    if (!this.#isPlaced) this.#result.p = [];
    this.#done(this.#result, null);
  }
}
