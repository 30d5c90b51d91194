/**
 * The requests of one connection that have begun. Only those of a handler that `overlaps` run
 * beside others, all of that handler; answers leave in the order of the requests.
 */
import { limits } from "../model/limits.ts";
import type { Handler } from "./handler.ts";

/** `answer` null: not answered yet. */
export type Slot = {
  readonly handler: Handler;
  readonly startedMs: number;
  bytes: number;
  answer: readonly Uint8Array[] | null;
};

export class InFlight {
  readonly #slots: Slot[] = [];
  /** Memory of requests that overlap, and of the others. */
  overlapping = 0;
  other = 0;

  get count(): number {
    return this.#slots.length;
  }

  /** A request of `bytes` may begin beside what has begun. */
  takes(handler: Handler | null, bytes: number): boolean {
    if (this.#slots.length === 0) return true;
    if (handler === null || !handler.overlaps) return false;
    if (this.#slots.length >= limits.kafkaRequestsInFlightMax) return false;
    if (this.overlapping + bytes > limits.kafkaRequestBytesMax) return false;
    return this.#slots.every((slot) => slot.handler === handler);
  }

  begin(handler: Handler): Slot {
    const slot: Slot = { handler, startedMs: performance.now(), bytes: 0, answer: null };
    this.#slots.push(slot);
    return slot;
  }

  weigh(slot: Slot, bytes: number): void {
    if (slot.handler.overlaps) this.overlapping += bytes - slot.bytes;
    else this.other += bytes - slot.bytes;
    slot.bytes = bytes;
  }

  /** What may be sent now: this answer and those that waited for it, or nothing yet. */
  answer(slot: Slot, pieces: readonly Uint8Array[]): Uint8Array[] {
    slot.answer = pieces;
    const sent: Uint8Array[] = [];
    for (;;) {
      const first = this.#slots.at(0);
      if (first === undefined || first.answer === null) return sent;
      for (const piece of first.answer) sent.push(piece);
      this.weigh(first, 0);
      this.#slots.shift();
    }
  }

  clear(): void {
    this.#slots.length = 0;
    this.overlapping = 0;
    this.other = 0;
  }
}
