/**
 * One slice on its way into the target: its records are encoded anew, each with its offset in a
 * header, into batches that the target takes. One batch is under way at a time, so a partition
 * keeps its order.
 */
import type { BatchBuilder, BatchProducer } from "../batch/builder.ts";
import type { RecordCursor } from "../batch/records.ts";
import { writeInteger } from "../lib/write-number.ts";
import { limits } from "../model/limits.ts";
import { BatchCursor } from "./encode.ts";
import type { DeadLetter, Slice } from "./target.ts";

export const offsetHeader = "milepost-offset";

/** What a record's own bytes grow by at most: five varints, the header's name and its digits. */
const GROWTH_MAX = 60;
const SEQUENCES = 2 ** 31;

/** Offsets `[from, to)` of the source, in one batch. */
export type Chunk = { from: number; to: number; records: number; bytes: Uint8Array };

export class Lane {
  readonly slice: Slice;
  /** What is before it is in the target, or a dead letter. */
  next: number;
  rows = 0;
  deadLettered = 0;
  /** What is being sent; sent again as it is, the target knows it. */
  chunk: Chunk | null = null;
  readonly #builder: BatchBuilder;
  /** Of a record alone; what is gathered may be less. */
  readonly #bytesMax: number;
  #recordsMax = Infinity;
  #cursor: BatchCursor;
  #more: boolean;

  /** `builder` is the lane's own until it is done. */
  constructor(slice: Slice, bytesMax: number, builder: BatchBuilder) {
    this.slice = slice;
    this.#builder = builder;
    this.next = slice.start;
    this.#bytesMax = bytesMax;
    this.#cursor = new BatchCursor([slice]);
    this.#more = this.#cursor.next();
  }

  get done(): boolean {
    return this.next >= this.slice.end;
  }

  /** The next batch, or the record that no batch takes; null: the slice has no more. */
  fill(producer: BatchProducer): Chunk | DeadLetter | null {
    const builder = this.#builder;
    const { record } = this.#cursor;
    builder.reset();
    const from = this.next;
    while (this.#more && builder.count < this.#recordsMax) {
      const bytes = builder.bytes + record.end - record.start + GROWTH_MAX;
      if (builder.count > 0 && bytes > Math.min(this.#bytesMax, limits.mirrorBatchBytes)) break;
      builder.copy(record, header, writeHeader(record.offset));
      if (builder.bytes > this.#bytesMax) {
        return this.#letter(
          `MESSAGE_TOO_LARGE: ${builder.bytes} bytes, and the topic takes ${this.#bytesMax}`,
        );
      }
      this.#more = this.#cursor.next();
    }
    if (builder.count === 0) {
      this.next = this.slice.end;
      return null;
    }
    builder.seal(producer);
    const to = this.#more ? record.offset : this.slice.end;
    this.chunk = { from, to, records: builder.count, bytes: builder.sealed() };
    return this.chunk;
  }

  /** The target has it. */
  accepted(): void {
    const chunk = this.chunk as Chunk;
    this.rows += chunk.records;
    this.next = chunk.to;
    this.chunk = null;
    this.#recordsMax *= 2;
  }

  /** The target does not take something in it: fewer records next time; alone it is a letter. */
  refused(reason: string): DeadLetter | null {
    const { from, records } = this.chunk as Chunk;
    this.goOn(from);
    if (records === 1) return this.#letter(reason);
    this.#recordsMax = records >>> 1;
    return null;
  }

  /** The letter is safe. */
  buried(): void {
    this.deadLettered++;
    this.#more = this.#cursor.next();
    this.next = this.#more ? this.#cursor.record.offset : this.slice.end;
    this.#recordsMax = Infinity;
  }

  /** From another offset of the slice on. */
  goOn(offset: number): void {
    this.chunk = null;
    this.next = offset;
    this.#cursor = new BatchCursor([{ ...this.slice, start: offset }]);
    this.#more = this.#cursor.next();
  }

  #letter(reason: string): DeadLetter {
    const { topic, partition } = this.slice;
    const { record } = this.#cursor;
    const { offset, timestamp } = record;
    const [key, value] = [record.key(), record.value()];
    return { topic, partition, offset, timestamp, key, value, reason: `kafka ${reason}` };
  }
}

/** Length of the name, name, length of the value (known last), value: all below 64. */
const header = Buffer.alloc(2 + offsetHeader.length + 20);
header[0] = 2 * offsetHeader.length;
header.write(offsetHeader, 1, "latin1");
const valueAt = 2 + offsetHeader.length;

/** Returns the header's bytes. */
function writeHeader(offset: number): number {
  const end = writeInteger(header, valueAt, offset);
  header[valueAt - 1] = 2 * (end - valueAt);
  return end;
}

export function advance(producer: BatchProducer, records: number): void {
  producer.sequence = (producer.sequence + records) % SEQUENCES;
}

/** The last header of that name is this sink's: the record may have come by another mirror. */
export function sourceOffset(record: RecordCursor): number | null {
  const found = record.headers().findLast(([name]) => name === offsetHeader)?.[1];
  const text = Buffer.from(found ?? []).toString("latin1");
  return /^\d{1,16}$/.test(text) ? Number(text) : null;
}
