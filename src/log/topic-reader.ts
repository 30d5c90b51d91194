/**
 * Reads a topic from its slices: by offset, by time, and around damage. Everything it gives out is
 * a copy, checked against its CRC and its place.
 */
import { endOffset } from "../batch/header.ts";
import { MilepostError } from "../model/errors.ts";
import { type BatchTime, firstBatchSince, newestBatch } from "./batch-times.ts";
import { postedRows } from "./keyed-rows.ts";
import { collectRows, type KeyRange, rowsEnd, type Slot } from "./located.ts";
import type { TopicRow } from "./manifest.ts";
import type { PartitionLog } from "./partition-log.ts";
import type { Slice } from "./slice.ts";
import type { Place } from "./slice-table.ts";

export class TopicReader {
  readonly #topic: TopicRow;
  readonly #slices: readonly Slice[];
  readonly #partitions: readonly PartitionLog[];
  /** Per partition, the damage that a reader met last. */
  readonly damageMet = new Map<number, number>();

  /** All three are the topic's own, and change under it. */
  constructor(topic: TopicRow, slices: readonly Slice[], partitions: readonly PartitionLog[]) {
    this.#topic = topic;
    this.#slices = slices;
    this.#partitions = partitions;
  }

  /** Whole batches from the one that holds `offset` on, at least one, below the watermark. */
  read(p: number, offset: number, maxBytes: number): Uint8Array[] {
    const log = this.#log(p);
    const batches: Uint8Array[] = [];
    this.checkRange(p, offset);
    let total = 0;
    let at = offset;
    while (at < log.highWatermark) {
      const skipTo = this.skippedTo(p, at);
      if (skipTo !== null) {
        at = skipTo;
        continue;
      }
      const slice = this.sliceAt(p, at);
      if (batches.length > 0 && !slice.prepare()) break;
      const place = this.place(slice, p, at);
      if (place === null || place.index.base[place.row] > at) {
        if (!slice.row.compacted) {
          if (batches.length > 0) return batches;
          throw this.damaged(slice, p, at);
        }
        // compaction left nothing here; records may go on further up
        const next = place === null ? slice.row.ends[p] : place.index.base[place.row];
        if (next <= at) throw this.damaged(slice, p, at);
        at = next;
        continue;
      }
      const { index, row } = place;
      if (index.base[row] >= log.highWatermark) break;
      if (batches.length > 0 && total + index.length[row] > maxBytes) break;
      const batch = slice.read(place, log.epochAt(index.base[row]));
      if (batch === null) {
        if (batches.length > 0) return batches;
        throw this.damaged(slice, p, index.base[row]);
      }
      batches.push(batch);
      total += batch.byteLength;
      at = endOffset(batch);
    }
    return batches;
  }

  /**
   * Where the batches from `offset` on lie: those of one slice, below the watermark, none that was
   * skipped. With a key, those that may hold it, and null at the end of its range. For readers in
   * other threads.
   */
  locate(p: number, offset: number, maxBytes: number, key?: KeyRange): Slot | null {
    const log = this.#log(p);
    this.checkRange(p, offset);
    const end = Math.min(log.highWatermark, key?.to ?? Infinity);
    let at = offset;
    while (at < end) {
      const skipTo = this.skippedTo(p, at);
      if (skipTo !== null) {
        at = skipTo;
        continue;
      }
      const slice = this.sliceAt(p, at);
      const { row, path, index: unsealed } = slice;
      const { flushed, compacted } = row;
      const until = Math.min(end, row.ends[p] ?? 0, this.#nextSkip(p, at));
      const writing = row.state !== "sealed";
      const slot = { path, writing, flushed, compacted, at, until, epochs: log.epochsFrom(at) };
      if (unsealed === null) return { ...slot, rows: null, next: at };
      const place = slice.locate(p, at);
      if (place !== null && place.index.base[place.row] <= at) {
        const postings = key === undefined ? null : (slice.keys?.of(p) ?? null);
        if (key !== undefined && postings !== null && place.row < postings.rows) {
          return { ...slot, ...postedRows(postings, key.hash, place, until, maxBytes) };
        }
        const rows = collectRows(place.index, place.row, until, maxBytes, compacted);
        return { ...slot, rows, next: rowsEnd(rows) };
      }
      const next = place === null ? row.ends[p] : place.index.base[place.row];
      if (!compacted || next <= at) throw this.damaged(slice, p, at);
      at = next;
    }
    return null;
  }

  /** Base offset of the first batch from `from` on that has so late a record, by its header. */
  firstBatchSince(p: number, timestamp: number, from: number): Generator<void, number | null> {
    return firstBatchSince(this.#times(p), timestamp, from);
  }

  /** The batch with the newest record, by its header. */
  newestBatch(p: number, except: readonly number[]): Generator<void, BatchTime | null> {
    return newestBatch(this.#times(p), except);
  }

  /** False while a read at `offset` would take long: a step towards it is done, ask again. */
  prepare(p: number, offset: number): boolean {
    return this.sliceAt(p, offset).prepare();
  }

  /** The slice that holds `offset` of a partition, or would. */
  sliceAt(p: number, offset: number): Slice {
    const slices = this.#slices;
    let low = 0;
    let high = slices.length - 1;
    // the last slice that begins at or before the offset; a partition made later begins at 0
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((slices[middle].row.starts[p] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return slices[low];
  }

  damaged(slice: Slice, p: number, offset: number): MilepostError {
    this.damageMet.set(p, offset);
    const place = `${this.#topic.name}/${p} at offset ${offset} in ${slice.path}`;
    return new MilepostError("damaged", place);
  }

  /** Where reading goes on after damage that an operator has had skipped; null: no such. */
  skippedTo(p: number, offset: number): number | null {
    const skip = this.#topic.skips.find((s) => s[0] === p && s[1] <= offset && offset < s[2]);
    return skip === undefined ? null : skip[2];
  }

  /** Looks for damage from the start on, a batch a step; the offset of the first, or null. */
  *findDamage(p: number): Generator<void, number | null> {
    const log = this.#log(p);
    let at = log.start;
    while ((at = Math.max(at, log.start)) < log.highWatermark) {
      while (!this.prepare(p, at)) yield;
      try {
        const [batch] = this.read(p, at, 1);
        if (batch === undefined) return null;
        at = endOffset(batch);
      } catch (error) {
        if (!(error instanceof MilepostError && error.code === "damaged")) throw error;
        return this.damageMet.get(p) ?? at;
      }
      yield;
    }
    return null;
  }

  /** The first offset after damage that begins at `offset`; null when a whole batch holds it. */
  damagedUntil(p: number, offset: number): number | null {
    const slice = this.sliceAt(p, offset);
    const end =
      slice === this.#slices.at(-1) ? this.#partitions[p].highWatermark : slice.row.ends[p];
    try {
      const place = slice.locate(p, offset);
      if (place === null) return end;
      const { index, row } = place;
      if (index.base[row] > offset) return slice.row.compacted ? null : index.base[row];
      const batch = slice.read(place, this.#partitions[p].epochAt(index.base[row]));
      return batch === null ? index.last[row] + 1 : null;
    } catch (error) {
      // the slice as a whole, or its table: nothing of it can be read
      if (error instanceof MilepostError && error.code === "damaged") return end;
      throw error;
    }
  }

  /** First batch of a slice that ends at or after `offset`; null when there is none. */
  place(slice: Slice, p: number, offset: number): Place | null {
    try {
      return slice.locate(p, offset);
    } catch (error) {
      if (error instanceof MilepostError && error.code === "damaged") {
        this.damageMet.set(p, offset);
      }
      throw error;
    }
  }

  /** Where the next damage that is skipped begins. */
  #nextSkip(p: number, at: number): number {
    let next = Infinity;
    for (const [partition, from] of this.#topic.skips) {
      if (partition === p && from > at && from < next) next = from;
    }
    return next;
  }

  /** Throws `offset_out_of_range`. */
  checkRange(p: number, offset: number): void {
    const { start, highWatermark } = this.#log(p);
    if (offset >= start && offset <= highWatermark) return;
    const detail = `${this.#topic.name}/${p}: ${offset}, have ${start} to ${highWatermark}`;
    throw new MilepostError("offset_out_of_range", detail);
  }

  #times(p: number) {
    return { p, log: this.#log(p), slices: this.#slices, reader: this };
  }

  #log(p: number): PartitionLog {
    const log = this.#partitions[p];
    if (log !== undefined) return log;
    throw new MilepostError("partition_missing", `${this.#topic.name}/${p}`);
  }
}
