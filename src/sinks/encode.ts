/** A batch of the log's records as chunks of rows, without those that are no rows. */
import { baseOffset, isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import type { RowEncoder } from "./database.ts";
import { type DeadLetter, placeOf, SinkFailure, type Slice } from "./target.ts";

/** Which records are not written, and why. */
export type LeftOut = {
  /** By place and offset: what the database does not take. */
  bad: ReadonlyMap<string, string>;
  /** By place and offset, or null for all: what a sample keeps. */
  kept: ReadonlySet<string> | null;
  /** Ordinals of records in the batch: only those in `[from, to)`. */
  from: number;
  to: number;
};

export type Encoded = { rows: number[]; letters: DeadLetter[]; records: number };

export const offsetKey = (slice: { topic: string; partition: number }, offset: number): string =>
  `${placeOf(slice)}/${offset}`;

/** Steps through the records of a batch, in order. */
export class BatchCursor {
  readonly record = new RecordCursor();
  /** Which slice the record is of. */
  at = 0;
  readonly #slices: Slice[];
  /** The next of the slice's batches; the one before it is open when `#open`. */
  #next = 0;
  #open = false;

  constructor(slices: Slice[]) {
    this.#slices = slices;
  }

  next(): boolean {
    const { record } = this;
    for (; this.at < this.#slices.length; this.at++, this.#next = 0) {
      const slice = this.#slices[this.at];
      while (this.#open || this.#next < slice.batches.length) {
        if (!this.#open) this.#begin(slice);
        while (this.#open && this.#step(slice)) {
          if (record.offset >= slice.start && record.offset < slice.end) return true;
        }
      }
    }
    return false;
  }

  #begin(slice: Slice): void {
    const bytes = slice.batches[this.#next++];
    if (isControl(bytes)) return;
    try {
      this.record.open(bytes);
      this.#open = true;
    } catch (error) {
      throw unreadable(slice, bytes, error);
    }
  }

  #step(slice: Slice): boolean {
    try {
      this.#open = this.record.next();
      return this.#open;
    } catch (error) {
      throw unreadable(slice, slice.batches[this.#next - 1], error);
    }
  }
}

function unreadable(slice: Slice, bytes: Uint8Array, error: unknown): SinkFailure {
  const place = `${placeOf(slice)}: the batch at ${baseOffset(bytes)}`;
  return new SinkFailure(`${place} cannot be read: ${(error as Error).message}`);
}

/** Fills `encoded` as it goes. */
export function* encode<Chunk>(
  encoder: RowEncoder<Chunk>,
  batch: Slice[],
  left: LeftOut,
  encoded: Encoded,
): Generator<Chunk> {
  encoder.begin();
  let at = -1;
  const cursor = new BatchCursor(batch);
  const { record } = cursor;
  while (cursor.next()) {
    const i = cursor.at;
    const slice = batch[i];
    if (i !== at) encoder.from(slice.topic, slice.partition);
    at = i;
    const ordinal = encoded.records++;
    if (ordinal < left.from || ordinal >= left.to) continue;
    let reason: string | null | undefined;
    if (left.bad.size > 0) reason = left.bad.get(offsetKey(slice, record.offset));
    if (left.kept !== null && !left.kept.has(offsetKey(slice, record.offset))) continue;
    reason ??= encoder.put(record);
    if (reason === null) {
      encoded.rows[i]++;
      const chunk = encoder.full();
      if (chunk !== null) yield chunk;
      continue;
    }
    const { offset, timestamp } = record;
    const { topic, partition } = slice;
    const [key, value] = [record.key(), record.value()];
    encoded.letters.push({ topic, partition, offset, timestamp, key, value, reason });
  }
  yield encoder.end();
}

export function nothingYet(batch: Slice[]): Encoded {
  return { rows: batch.map(() => 0), letters: [], records: 0 };
}
