/**
 * The batches of a partition that may hold records of one key, in order of offsets, read by the
 * thread that asks: the log thread only says where they lie. In steps of bounded work; damage and
 * gaps are met as by any other reader.
 */
import { setImmediate as turn } from "node:timers/promises";
import { MilepostError } from "../model/errors.ts";
import { keyHash } from "./key-index.ts";
import {
  BASE,
  type KeyRange,
  LAST,
  LENGTH,
  type ReadAt,
  ROW,
  type Rows,
  rowsBytes,
} from "./located.ts";
import { type Found, type LogReader, TRIES } from "./reader.ts";

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

/** Offsets `from` to `to`, of about `maxBytes`, one batch at least if there is any. */
export async function batchesOf(
  reader: LogReader,
  topic: string,
  partition: number,
  key: Uint8Array,
  from: number,
  to: number,
  maxBytes: number,
): Promise<KeyedBatches> {
  const range = { hash: keyHash(key, 0, key.byteLength), to };
  const read = new KeyedRead(reader, { topic, partition, offset: from, maxBytes, key: range });
  while (!(await read.step())) await turn();
  return read.result;
}

class KeyedRead {
  readonly #reader: LogReader;
  /** What is still to be read. */
  readonly #left: ReadAt & { key: KeyRange };
  readonly #batches: Uint8Array[] = [];
  #highWatermark = -1;
  #start = -1;
  /** How often the slice at hand had gone. */
  #tries = 0;

  constructor(reader: LogReader, all: ReadAt & { key: KeyRange }) {
    this.#reader = reader;
    this.#left = all;
  }

  get result(): KeyedBatches {
    const next = this.#left.offset;
    return { batches: this.#batches, next, highWatermark: this.#highWatermark, start: this.#start };
  }

  /** True when it is done. */
  async step(): Promise<boolean> {
    const left = this.#left;
    const [found] = await this.#reader.find([left], left.maxBytes);
    const { error, detail, start, highWatermark } = found;
    // retention was faster; who asked for it in the first place is told
    const isBehind = error === "offset_out_of_range" && this.#start >= 0 && start > left.offset;
    if (error === "damaged") return this.#damaged(detail);
    if (error !== null && !isBehind) throw new MilepostError(error, detail);
    this.#start = start;
    this.#highWatermark = highWatermark;
    const end = Math.min(left.key.to, highWatermark);
    if (isBehind) this.#goOn(start);
    // what was left was damaged, and skipped
    else if (found.slot === null) this.#goOn(end);
    else if (await this.#take(found)) return true;
    return left.offset >= end || left.maxBytes <= 0;
  }

  /** True when it is done. */
  async #take(found: Found): Promise<boolean> {
    const { rows } = found;
    // the first of a look-up comes at any size, others do not
    if (this.#batches.length > 0 && found.bytes > this.#left.maxBytes) {
      this.#goOn(rows[BASE]);
      return true;
    }
    for (let from = 0; from < rows.length;) {
      if (from > 0) await turn();
      const step = stepFrom(rows, from);
      const bytes = rowsBytes(step);
      const base = step[BASE];
      const taken = this.#reader.take({ ...found, rows: step, bytes });
      const { topic, partition } = this.#left;
      const place = `${topic}/${partition} at offset ${base} in ${found.slot?.path}`;
      if (taken === null) {
        this.#goOn(base);
        return this.#damaged(place);
      }
      if (taken.byteLength === 0 && ++this.#tries > TRIES) return this.#damaged(place);
      this.#add(taken, step);
      // damage follows, or the slice has gone: the next step tells
      if (taken.byteLength < bytes) return false;
      from += step.length;
    }
    this.#goOn(found.next);
    return false;
  }

  #add(taken: Uint8Array, rows: Rows): void {
    for (let at = 0, row = 0; at < taken.byteLength; row += ROW) {
      const batch = taken.subarray(at, (at += rows[row + LENGTH]));
      this.#batches.push(batch);
      this.#goOn(rows[row + LAST] + 1);
      this.#tries = 0;
    }
    this.#left.maxBytes -= taken.byteLength;
  }

  /** What lies before it comes first; the next look-up begins with it. */
  #damaged(place: string): boolean {
    if (this.#batches.length > 0) return true;
    throw new MilepostError("damaged", place);
  }

  #goOn(offset: number): void {
    this.#left.offset = Math.max(this.#left.offset, offset);
  }
}

/** Some rows, one at least. */
function stepFrom(rows: Rows, from: number): Rows {
  let to = from + ROW;
  let bytes = rows[from + LENGTH];
  while (to < rows.length && to - from < STEP_BATCHES * ROW) {
    bytes += rows[to + LENGTH];
    if (bytes > STEP_BYTES) break;
    to += ROW;
  }
  return rows.subarray(from, to);
}
