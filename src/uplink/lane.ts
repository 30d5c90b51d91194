/** A partition on its way into the cluster: its machine, and batches read ahead of it. */
import { baseOffset, batchBytes, endOffset } from "../batch/header.ts";
import { limits } from "../model/limits.ts";
import { Forwarding, type Standing } from "./forwarding.ts";
import { isPlain } from "./merge.ts";

export class Lane {
  readonly topic: string;
  readonly partition: number;
  readonly forwarding: Forwarding;
  /** Committed here. */
  highWatermark = 0;
  /** Not read or sent before: damage here, or a refusal there. */
  retryAt = 0;
  /** Where it stands is being written: nothing is sent meanwhile. */
  isSaving = false;
  /** When something got there last, or began to wait. */
  progressAt = 0;
  /** ms, of the newest record that got there. */
  ackedTime = 0;
  /** Everything below was read. */
  #readTo: number;
  #queue: Uint8Array[] = [];
  #queued = 0;

  constructor(topic: string, partition: number, standing: Standing) {
    this.topic = topic;
    this.partition = partition;
    this.forwarding = new Forwarding(standing);
    this.#readTo = standing.acked;
  }

  get readTo(): number {
    return this.#readTo;
  }
  get queuedBytes(): number {
    return this.#queued;
  }
  get lag(): number {
    return Math.max(0, this.highWatermark - this.forwarding.acked);
  }
  get head(): Uint8Array | undefined {
    return this.#queue[0];
  }

  /** `batches`: those of the commit, where they came with the news of it. */
  committed(highWatermark: number, batches: Uint8Array | null, now: number): void {
    if (this.lag === 0) this.progressAt = now;
    this.highWatermark = Math.max(this.highWatermark, highWatermark);
    // what was not told in between is read first, and this with it
    if (batches !== null && this.wants(now) && baseOffset(batches) === this.#readTo) {
      this.put(batches);
    }
  }

  /** May be read ahead now. */
  wants(now: number): boolean {
    return this.forwarding.isSure && this.#queued < limits.uplinkLaneBytes && this.retryAt <= now;
  }

  /** Whole batches, one behind the other; what was read before is passed over. */
  put(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength;) {
      const batch = bytes.subarray(at, at + batchBytes(bytes, at));
      at += batch.byteLength;
      if (endOffset(batch) <= this.#readTo) continue;
      this.#readTo = endOffset(batch);
      this.#queue.push(batch);
      this.#queued += batch.byteLength;
    }
  }

  /** Nothing is there below. */
  passTo(offset: number): void {
    this.#readTo = Math.max(this.#readTo, offset);
  }

  /** What left as one batch before has been read again to its end. */
  get isWhole(): boolean {
    const { boundary } = this.forwarding;
    return boundary === Infinity || this.#readTo >= boundary;
  }

  /** The next batches that may leave as one. */
  take(): Uint8Array[] {
    const queue = this.#queue;
    const { boundary } = this.forwarding;
    let bytes = queue[0].byteLength;
    let count = 1;
    for (; count < queue.length && isPlain(queue[0]); count++) {
      const next = queue[count];
      bytes += next.byteLength;
      if (bytes > limits.uplinkBatchBytes || !isPlain(next) || endOffset(next) > boundary) break;
      if (baseOffset(next) !== endOffset(queue[count - 1])) break;
    }
    const taken = queue.splice(0, count);
    for (const batch of taken) this.#queued -= batch.byteLength;
    return taken;
  }

  /** What was read ahead is read again, from where the machine goes on. */
  reread(): void {
    this.#queue = [];
    this.#queued = 0;
    this.#readTo = this.forwarding.next;
  }
}
