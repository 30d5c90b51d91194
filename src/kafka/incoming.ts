/**
 * Requests out of what the socket gives. Each becomes a buffer of its own, which is copied once
 * where it comes at once, and grows with what has come where it does not: a size that is announced
 * costs nothing.
 */
import { limits } from "../model/limits.ts";
import { copyBytes } from "../lib/copy-bytes.ts";

const SIZE_BYTES = 4;
/** API key, version, correlation id. */
const HEADER_BYTES_MIN = 8;
/** A buffer's own cost, which a flood of tiny requests would else not be charged for. */
const OVERHEAD_BYTES = 200;
const PIECE_BYTES_MIN = 1024;

export class Incoming {
  /** Whole requests that have not begun, without their sizes. */
  readonly ready: Buffer[] = [];
  /** Why nothing after them can be read. */
  broken: string | null = null;
  /** When the request that is arriving began to. */
  sinceMs = 0;
  /** Memory of all. */
  held = 0;
  #size = 0;
  #sizeBytes = 0;
  /** The request that is arriving; null: less than its size is there. */
  #frame: Buffer | null = null;
  #filled = 0;

  /** In the middle of a request. */
  get arriving(): boolean {
    return this.#sizeBytes > 0;
  }

  /** API key of the request that is arriving; null: not there yet. */
  get key(): number | null {
    return this.#frame !== null && this.#filled >= 2 ? this.#frame.readInt16BE(0) : null;
  }

  /** Its announced size. */
  get size(): number {
    return this.#frame === null ? 0 : this.#size;
  }

  /** The first `length` of `bytes`, which belong to the caller again when it returns. */
  take(bytes: Buffer, length: number, now: number): void {
    let at = 0;
    while (at < length && this.broken === null) {
      if (!this.arriving) this.sinceMs = now;
      if (this.#sizeBytes < SIZE_BYTES) {
        this.#size = ((this.#size << 8) | bytes[at++]) >> 0;
        if (++this.#sizeBytes === SIZE_BYTES) this.#begin(length - at);
      } else {
        const end = Math.min(length, at + this.#size - this.#filled);
        this.#fill(bytes, at, end);
        at = end;
      }
    }
  }

  /** The first whole request; it is the caller's to account for. */
  shift(): Buffer {
    const frame = this.ready.shift() as Buffer;
    this.held -= frame.length + OVERHEAD_BYTES;
    return frame;
  }

  /** The request that is arriving cannot be: what is whole stays. */
  refuse(why: string): void {
    this.broken = `a request that cannot be: ${why}`;
    this.held -= (this.#frame?.length ?? 0) + OVERHEAD_BYTES;
    this.#frame = null;
    this.#sizeBytes = 0;
  }

  clear(): void {
    this.ready.length = 0;
    this.#frame = null;
    this.#sizeBytes = 0;
    this.held = 0;
  }

  #begin(there: number): void {
    const size = this.#size;
    if (size < HEADER_BYTES_MIN || size > limits.kafkaRequestBytesMax) {
      this.broken = `a request of ${size} bytes${guess(size)}`;
      return;
    }
    this.#frame = Buffer.allocUnsafe(Math.min(size, Math.max(there, PIECE_BYTES_MIN)));
    this.#filled = 0;
    this.held += this.#frame.length + OVERHEAD_BYTES;
  }

  #fill(bytes: Buffer, start: number, end: number): void {
    let frame = this.#frame as Buffer;
    const filled = this.#filled + end - start;
    if (filled > frame.length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#size, Math.max(filled, frame.length * 2)));
      frame.copy(grown, 0, 0, this.#filled);
      this.held += grown.length - frame.length;
      this.#frame = frame = grown;
    }
    copyBytes(bytes, start, end, frame, this.#filled);
    this.#filled = filled;
    if (filled < this.#size) return;
    this.ready.push(frame);
    this.#frame = null;
    this.#sizeBytes = 0;
    this.#size = 0;
  }
}

/** What speaks another protocol, in words: its first four bytes were taken for a size. */
function guess(size: number): string {
  const text = Buffer.alloc(SIZE_BYTES);
  text.writeInt32BE(size);
  if (text[0] === 0x16 && text[1] === 3) return " (TLS)";
  const printable = text.every((byte) => byte >= 0x20 && byte < 0x7f);
  return printable ? ` ("${text.toString()}")` : "";
}
