/**
 * The batches of a partition that may hold records of one key, in order of offsets. A sealed slice
 * names them in its index, one that is not by what was learnt of it so far; where neither knows,
 * every batch may. In steps of bounded work; damage and gaps are met as by any other reader.
 */
import { baseOffset, lastOffsetDelta } from "../batch/header.ts";
import { MilepostError } from "../model/errors.ts";
import { keyedBases, keyHash } from "./key-index.ts";
import type { Place } from "./slice-table.ts";
import type { Slice } from "./slice.ts";
import type { Topic } from "./topic.ts";

/** Copied in one step: about a millisecond. */
const STEP_BATCHES = 64;
const STEP_BYTES = 256 * 1024;

export type KeyedBatches = {
  /** Whole ones; some may hold no record of the key, or records outside the range. */
  batches: Uint8Array[];
  /** Where to go on; nothing is left when that is the range's end or the high watermark. */
  next: number;
  highWatermark: number;
  /** Of the partition: retention may have taken what lay below while this was read. */
  start: number;
};

export class KeyedRead {
  readonly #topic: Topic;
  readonly #partition: number;
  readonly #hash: number;
  readonly #to: number;
  readonly #maxBytes: number;
  readonly #batches: Uint8Array[] = [];
  #next: number;
  #bytes = 0;
  #full = false;
  /** What the index of the sealed slice at hand says, and how far that was read. */
  #listed: { slice: Slice; bases: number[] | null; done: number } | null = null;

  /** Offsets `from` to `to`, of about `maxBytes`, one batch at least. */
  constructor(
    topic: Topic,
    partition: number,
    key: Uint8Array,
    from: number,
    to: number,
    maxBytes: number,
  ) {
    topic.reader.checkRange(partition, from);
    this.#topic = topic;
    this.#partition = partition;
    this.#hash = keyHash(key, 0, key.byteLength);
    this.#next = from;
    this.#to = to;
    this.#maxBytes = maxBytes;
  }

  get result(): KeyedBatches {
    const { start, highWatermark } = this.#topic.partition(this.#partition);
    return { batches: this.#batches, next: this.#next, highWatermark, start };
  }

  /** True when it is done. */
  step(): boolean {
    try {
      return this.#step();
    } catch (error) {
      // what lies before damage comes first; the next read begins with it
      const damaged = error instanceof MilepostError && error.code === "damaged";
      if (!damaged || this.#batches.length === 0) throw error;
      return true;
    }
  }

  #step(): boolean {
    const { reader } = this.#topic;
    const { start, highWatermark } = this.#topic.partition(this.#partition);
    const end = Math.min(this.#to, highWatermark);
    // retention may have been faster
    this.#next = Math.max(this.#next, start);
    if (this.#full || this.#next >= end) return true;
    const slice = reader.sliceAt(this.#partition, this.#next);
    if (!slice.prepare()) return false;
    const until = Math.min(end, slice.row.ends[this.#partition] ?? 0);
    // no slice has this offset: whoever reads on is told
    if (until <= this.#next) this.#readAll();
    else if (slice.index === null) this.#readSealed(slice, until);
    else this.#readUnsealed(slice, until);
    return this.#full || this.#next >= end;
  }

  #readSealed(slice: Slice, until: number): void {
    const p = this.#partition;
    if (this.#listed?.slice !== slice) {
      const get = (key: Uint8Array): Uint8Array | undefined => slice.environment.get(key);
      const bases = keyedBases(get, p, this.#hash, this.#next, until);
      this.#listed = { slice, bases, done: 0 };
    }
    const listed = this.#listed;
    if (listed.bases === null) return this.#readAll();
    const full = this.#bytes + STEP_BYTES;
    for (let n = 0; n < STEP_BATCHES && this.#bytes < full; n++) {
      if (listed.done === listed.bases.length) {
        this.#next = until;
        return;
      }
      const base = listed.bases[listed.done++];
      const place = slice.locate(p, base);
      if (place?.index.base[place.row] !== base) {
        // not the index of this table
        listed.bases = null;
        return;
      }
      if (!this.#take(slice, place)) return;
    }
  }

  #readUnsealed(slice: Slice, until: number): void {
    const index = slice.index?.[this.#partition];
    const postings = slice.keys?.of(this.#partition);
    if (index === undefined || postings == null) return this.#readAll();
    let row = index.find(this.#next);
    if (row >= postings.rows) return this.#readAll();
    const full = this.#bytes + STEP_BYTES;
    for (let n = 0; n < STEP_BATCHES && this.#bytes < full; n++) {
      row = postings.find(this.#hash, row);
      if (row === postings.rows || index.base[row] >= until) {
        this.#next = Math.min(until, index.last[postings.rows - 1] + 1);
        return;
      }
      if (!this.#take(slice, { index, row })) return;
      row++;
    }
  }

  /** False when it is full. */
  #take(slice: Slice, place: Place): boolean {
    const { index, row } = place;
    const base = index.base[row];
    if (index.last[row] < this.#next) return true;
    if (!this.#fits(index.length[row])) {
      this.#next = Math.max(this.#next, base);
      return false;
    }
    const { reader } = this.#topic;
    const log = this.#topic.partition(this.#partition);
    const batch = slice.read(place, log.epochAt(base));
    if (batch !== null) {
      this.#add(batch, index.last[row] + 1);
      return true;
    }
    const skipTo = reader.skippedTo(this.#partition, base);
    this.#next = skipTo ?? Math.max(this.#next, base);
    if (skipTo === null) throw reader.damaged(slice, this.#partition, base);
    return true;
  }

  /** Whatever comes next. */
  #readAll(): void {
    const { reader } = this.#topic;
    const room = Math.min(this.#maxBytes - this.#bytes, STEP_BYTES);
    const batches = reader.read(this.#partition, this.#next, room);
    for (const batch of batches) {
      if (baseOffset(batch) >= this.#to) {
        this.#next = this.#to;
        return;
      }
      if (!this.#fits(batch.byteLength)) return;
      this.#add(batch, baseOffset(batch) + lastOffsetDelta(batch) + 1);
    }
    // what is left was damaged, and skipped
    if (batches.length > 0) return;
    this.#next = Math.min(this.#to, this.#topic.partition(this.#partition).highWatermark);
  }

  #fits(bytes: number): boolean {
    this.#full = this.#batches.length > 0 && this.#bytes + bytes > this.#maxBytes;
    return !this.#full;
  }

  #add(batch: Uint8Array, next: number): void {
    this.#batches.push(batch);
    this.#bytes += batch.byteLength;
    this.#next = next;
  }
}
