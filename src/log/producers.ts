/**
 * Idempotent producers of one partition: the last five batches of each, so that a batch sent again
 * gets its first offset and a gap is refused. Changes are made at once and undone when the
 * transaction that carries the data fails.
 */
import { baseSequence, lastOffsetDelta, producerEpoch, producerId } from "../batch/header.ts";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { ProducerRow } from "./slice-header.ts";

/** Kafka's producer.id.expiration.ms: by this node's clock, never by a record's time. */
const EXPIRES_MS = 24 * 3_600_000;
const SEQUENCES = 2 ** 31;

/** Where an idempotent producer stands in a partition. */
export type ProducerStanding = { id: number; epoch: number; lastSequence: number; usedMs: number };

/** A duplicate's first offset, an error, or null: append it. */
export type Verdict = { duplicateOf: number } | { error: ErrorCode } | null;

export const sequenceAfter = (sequence: number, records: number): number =>
  (sequence + records) % SEQUENCES;

export class Producers {
  readonly #rows = new Map<number, ProducerRow>();
  /** What the open transaction changed, as it was before; undefined: it was not there. */
  readonly #before = new Map<number, ProducerRow | undefined>();

  get size(): number {
    return this.#rows.size;
  }

  /** Only for batches with a producer id. */
  check(batch: Uint8Array): Verdict {
    const epoch = producerEpoch(batch);
    const first = baseSequence(batch);
    const last = sequenceAfter(first, lastOffsetDelta(batch));
    if (first < 0 || epoch < 0) return { error: "invalid_record" };
    const row = this.#rows.get(producerId(batch));
    // a producer not known here may begin anywhere: its state can have expired
    if (row === undefined) return null;
    if (epoch < row.epoch) return { error: "fenced_producer" };
    if (epoch > row.epoch) return first === 0 ? null : { error: "out_of_order_sequence" };
    const { batches } = row;
    for (const [keptFirst, keptLast, offset] of batches) {
      if (keptFirst === first && keptLast === last) return { duplicateOf: offset };
    }
    const next = sequenceAfter(batches[batches.length - 1][1], 1);
    if (first === next) return null;
    // clients take a duplicate for stored: only what surely is, to its last record, is called so
    const behind = (next - first + SEQUENCES) % SEQUENCES;
    const stored = behind <= row.records && behind > lastOffsetDelta(batch);
    return { error: stored ? "duplicate_sequence" : "out_of_order_sequence" };
  }

  add(batch: Uint8Array, offset: number, nowMs: number): void {
    const id = producerId(batch);
    const before = this.#rows.get(id);
    const epoch = producerEpoch(batch);
    const first = baseSequence(batch);
    const known = before !== undefined && before.epoch === epoch ? before : null;
    const batches = known === null ? [] : known.batches.slice(1 - limits.producerBatchesKept);
    batches.push([first, sequenceAfter(first, lastOffsetDelta(batch)), offset]);
    const records = Math.min((known?.records ?? 0) + lastOffsetDelta(batch) + 1, SEQUENCES / 2);
    if (!this.#before.has(id)) this.#before.set(id, before);
    // the one used last stands last
    this.#rows.delete(id);
    this.#rows.set(id, { id, epoch, usedMs: nowMs, batches, records });
  }

  commit(): void {
    if (this.#before.size === 0) return;
    this.#before.clear();
    for (const id of this.#rows.keys()) {
      if (this.#rows.size <= limits.producersMax) break;
      this.#rows.delete(id);
    }
  }

  rollback(): void {
    for (const [id, row] of this.#before) {
      this.#rows.delete(id);
      if (row !== undefined) this.#rows.set(id, row);
    }
    this.#before.clear();
  }

  expire(nowMs: number): void {
    for (const [id, row] of this.#rows) {
      if (row.usedMs + EXPIRES_MS < nowMs) this.#rows.delete(id);
    }
  }

  /**
   * As of the last commit: a slice may begin between a batch's admission and its transaction, and
   * a header that named the batch would have it taken for stored.
   */
  rows(): ProducerRow[] {
    const rows: ProducerRow[] = [];
    for (const row of this.#rows.values()) {
      const committed = this.#before.has(row.id) ? this.#before.get(row.id) : row;
      if (committed !== undefined) rows.push(committed);
    }
    return rows;
  }

  /** As of the last commit. */
  standings(): ProducerStanding[] {
    return this.rows().map(({ id, epoch, usedMs, batches }) => {
      return { id, epoch, usedMs, lastSequence: batches[batches.length - 1][1] };
    });
  }

  /** Offsets of the last batch of each producer: compaction keeps them. */
  lastOffsets(): Set<number> {
    const offsets = new Set<number>();
    for (const { batches } of this.#rows.values()) offsets.add(batches[batches.length - 1][2]);
    return offsets;
  }

  restore(rows: ProducerRow[]): void {
    this.#rows.clear();
    for (const row of rows) this.#rows.set(row.id, row);
  }
}
