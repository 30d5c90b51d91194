/**
 * Where batches lie, as the log thread tells it to a thread that reads them itself. Only the log
 * thread knows the slices that are still written; a sealed one has its table in its own file.
 */
import type { PartitionIndex } from "./slice-index.ts";
import type { ErrorCode } from "../model/errors.ts";

export type ReadAt = {
  topic: string;
  partition: number;
  offset: number;
  maxBytes: number;
  /** Only batches that may hold a record of the key. */
  key?: KeyRange;
};

/** A key by its hash, and the offset to which it is looked for. */
export type KeyRange = { hash: number; to: number };

/** Batches of one partition, `ROW` numbers each. */
export type Rows = Float64Array;
export const ROW = 6;
export const BASE = 0;
export const LAST = 1;
export const COMMIT = 2;
export const VALUE = 3;
export const POSITION = 4;
export const LENGTH = 5;

export type Slot = {
  path: string;
  /** Still written: to be opened with the writer's flags. */
  writing: boolean;
  flushed: boolean;
  compacted: boolean;
  /** Where reading begins: behind damage that was skipped. */
  at: number;
  /** Nothing at or above is to be read from here. */
  until: number;
  /** Leader epochs from the one that holds at `at` on. */
  epochs: [epoch: number, startOffset: number][];
  /** Null: in the file's own table. */
  rows: Rows | null;
  /** Of what was asked for, all below it is in `rows`. */
  next: number;
};

export type Located = {
  error: ErrorCode | null;
  /** What an operator should know of the error. */
  detail: string;
  start: number;
  highWatermark: number;
  /** Null: nothing to read at the offset, or an error. */
  slot: Slot | null;
};

/**
 * Rows from `row` on, below `until`, of about `maxBytes`, at least one. Ends where the next batch
 * does not join on: a gap is damage, or in a compacted slice passed over.
 */
export function collectRows(
  index: PartitionIndex,
  row: number,
  until: number,
  maxBytes: number,
  compacted: boolean,
): Rows {
  let to = row;
  let total = 0;
  while (to < index.count && index.base[to] < until) {
    if (to > row && total + index.length[to] > maxBytes) break;
    if (to > row && !compacted && index.base[to] !== index.last[to - 1] + 1) break;
    total += index.length[to++];
  }
  const rows = new Float64Array((to - row) * ROW);
  for (let i = row, at = 0; i < to; i++, at += ROW) {
    rows[at + BASE] = index.base[i];
    rows[at + LAST] = index.last[i];
    rows[at + COMMIT] = index.commit[i];
    rows[at + VALUE] = index.value[i];
    rows[at + POSITION] = index.position[i];
    rows[at + LENGTH] = index.length[i];
  }
  return rows;
}

/** Rows of any places, of about `maxBytes`, at least one. */
export class RowList {
  readonly #maxBytes: number;
  readonly #numbers: number[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** False when there is no room for it. */
  add(index: PartitionIndex, row: number): boolean {
    const length = index.length[row];
    if (this.#bytes > 0 && this.#bytes + length > this.#maxBytes) return false;
    this.#bytes += length;
    const { base, last, commit, value, position } = index;
    this.#numbers.push(base[row], last[row], commit[row], value[row], position[row], length);
    return true;
  }

  get rows(): Rows {
    return Float64Array.from(this.#numbers);
  }
}

/** The offset behind rows, of which there are some. */
export const rowsEnd = (rows: Rows): number => rows[rows.length - ROW + LAST] + 1;

export function rowsBytes(rows: Rows | null): number {
  let bytes = 0;
  if (rows === null) return bytes;
  for (let at = LENGTH; at < rows.length; at += ROW) bytes += rows[at];
  return bytes;
}
