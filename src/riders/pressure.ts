/**
 * Riders that do not read as fast as they are written to: how much they hold of memory, and who of
 * them has to go.
 */
import { limits } from "../model/limits.ts";

/** A connection with bytes the kernel has not taken. */
export interface Reader {
  /** Kept by `Pressure`. */
  unsentBytes: number;
  /** Some of them were taken since this was last set to false. */
  hasRead: boolean;
  /** With what is remembered of drivers that changed. */
  readonly heldBytes: number;
  /** Ends it; what it holds is freed when `now`, else it is told why once it reads on. */
  closeSlow(now: boolean): void;
}

export class Pressure {
  /** Readers with something unsent → since when they have read nothing, ms. */
  readonly #behind = new Map<Reader, number>();
  #unsentBytes = 0;

  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** After a write, a drain, and with 0 when it closed. */
  unsent(reader: Reader, bytes: number): void {
    const more = bytes - reader.unsentBytes;
    if (more === 0) return;
    if (more < 0) reader.hasRead = true;
    reader.unsentBytes = bytes;
    this.#unsentBytes += more;
    if (bytes === 0) this.#behind.delete(reader);
    else if (!this.#behind.has(reader)) this.#behind.set(reader, Infinity);
    if (more > 0 && this.#unsentBytes > limits.ridersUnsentBytesMax)
      this.#relieve(this.#unsentBytes);
  }

  /** Every second or so, by a clock that only goes forward. */
  sweep(nowMs: number): void {
    let heldBytes = 0;
    for (const [reader, since] of this.#behind) {
      heldBytes += reader.heldBytes;
      if (reader.hasRead || since === Infinity) {
        reader.hasRead = false;
        this.#behind.set(reader, nowMs);
      } else if (nowMs - since >= limits.riderSlowMsMax) {
        reader.closeSlow(false);
      }
    }
    if (heldBytes > limits.ridersUnsentBytesMax) this.#relieve(heldBytes);
  }

  /** Closes those with the most, until a quarter is free. */
  #relieve(heldBytes: number): void {
    const most = [...this.#behind.keys()].sort((a, b) => b.heldBytes - a.heldBytes);
    let left = heldBytes;
    for (const reader of most) {
      if (left <= 0.75 * limits.ridersUnsentBytesMax) return;
      left -= reader.heldBytes;
      reader.closeSlow(true);
    }
  }
}
