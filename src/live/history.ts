/**
 * The last publications of the drivers that somebody follows, the oldest giving way to the newest:
 * what riders missed who were away for a moment. One ring of bytes and one of entries for all; an
 * entry knows the one before it of its driver.
 */
import { copyBytes } from "../lib/copy-bytes.ts";

const NONE = -1;

export type HistoryEntry = {
  /** The log's offset. */
  offset: number;
  /** Of the ping as it was sent: JSON without its closing brace. */
  json: string;
  received: number;
  late: boolean;
};

export class History {
  readonly #bytes: Buffer;
  readonly #entries: number;
  /** Entry number of the next one; entry `n` is in place `n % entries`. */
  #next = 0;
  /** The oldest whose bytes were not written over. */
  #oldest = 0;
  /** Bytes ever written, each entry in one piece; place `n % bytes`. */
  #written = 0;
  readonly #start: Float64Array;
  readonly #length: Uint16Array;
  readonly #offset: Float64Array;
  readonly #received: Float64Array;
  readonly #late: Uint8Array;
  /** Entry number of the same driver's entry before. */
  readonly #before: Float64Array;
  /** Row → its newest entry's number. */
  readonly #newest = new Map<number, number>();

  /** `entries` of about 120 B fill `bytes`. */
  constructor(bytes: number, entries = Math.ceil(bytes / 120)) {
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
    this.#entries = entries;
    this.#start = new Float64Array(entries);
    this.#length = new Uint16Array(entries);
    this.#offset = new Float64Array(entries);
    this.#received = new Float64Array(entries);
    this.#late = new Uint8Array(entries);
    this.#before = new Float64Array(entries);
  }

  /** `value[start, end)`: the ping's JSON. Offsets of a row ascend. */
  add(
    row: number,
    value: Uint8Array,
    start: number,
    end: number,
    offset: number,
    received: number,
    late: boolean,
  ): void {
    const length = end - 1 - start;
    const size = this.#bytes.byteLength;
    // never in two pieces
    if ((this.#written % size) + length > size) this.#written += size - (this.#written % size);
    const at = this.#written;
    this.#written += length;
    const least = Math.max(this.#next + 1 - this.#entries, this.#oldest);
    this.#oldest = least;
    while (
      this.#oldest < this.#next &&
      this.#start[this.#oldest % this.#entries] < this.#written - size
    ) {
      this.#oldest++;
    }
    copyBytes(value, start, end - 1, this.#bytes, at % size);
    const place = this.#next % this.#entries;
    this.#start[place] = at;
    this.#length[place] = length;
    this.#offset[place] = offset;
    this.#received[place] = received;
    this.#late[place] = late ? 1 : 0;
    this.#before[place] = this.#newest.get(row) ?? NONE;
    this.#newest.set(row, this.#next++);
  }

  /**
   * Entries of a driver with offsets of `from` and more, oldest first, the newest `max` of them;
   * `complete`: none below them, down to `from`, were written over.
   */
  since(row: number, from: number, max: number): { entries: HistoryEntry[]; complete: boolean } {
    const entries: HistoryEntry[] = [];
    let entry = this.#newest.get(row) ?? NONE;
    while (entry >= this.#oldest && entries.length < max) {
      const place = entry % this.#entries;
      if (this.#offset[place] < from) return { entries: entries.reverse(), complete: true };
      const start = this.#start[place] % this.#bytes.byteLength;
      entries.push({
        offset: this.#offset[place],
        json: this.#bytes.toString("utf8", start, start + this.#length[place]),
        received: this.#received[place],
        late: this.#late[place] === 1,
      });
      entry = this.#before[place];
    }
    return { entries: entries.reverse(), complete: entry === NONE };
  }

  /** Of a driver whom nobody follows any more. */
  forget(row: number): void {
    this.#newest.delete(row);
  }
}
