/**
 * Which batches of a slice may hold records of one key: of an unsealed one by what was learnt of it
 * so far, of a sealed one by the index in its own file, which any thread may read.
 */
import type { Environments } from "./environments.ts";
import { keyedBases } from "./key-index.ts";
import type { KeyPostings } from "./key-postings.ts";
import { RowList, type Rows, type Slot } from "./located.ts";
import { locateInTable, type Place } from "./slice-table.ts";

/** Looked up in one step: half a millisecond where each has its own chunk of the table. */
const STEP_ROWS = 32;

/** `next`: of the key, all below it is in `rows`. */
export type KeyedRows = { rows: Rows; next: number };

/** From a place on that was learnt. */
export function postedRows(
  postings: KeyPostings,
  hash: number,
  { index, row: from }: Place,
  until: number,
  maxBytes: number,
): KeyedRows {
  const found = postings.find(hash, from);
  const list = new RowList(maxBytes);
  for (const row of found.rows) {
    const base = index.base[row];
    if (base >= until) break;
    if (!list.add(index, row)) return { rows: list.rows, next: base };
  }
  return { rows: list.rows, next: Math.min(until, index.last[found.to - 1] + 1) };
}

/** In steps; null where there is no index, or not the one of this table: any batch may hold it. */
export function* indexedRows(
  environments: Environments,
  { path, at, until }: Slot,
  partition: number,
  hash: number,
  maxBytes: number,
): Generator<void, KeyedRows | null> {
  const env = environments.get(path);
  const bases = keyedBases((key) => env.get(key), partition, hash, at, until);
  if (bases === null) return null;
  const list = new RowList(maxBytes);
  for (let i = 0; i < bases.length; i++) {
    if (i > 0 && i % STEP_ROWS === 0) yield;
    const chunks = environments.chunks(path);
    const place = locateInTable(environments.get(path), chunks, path, partition, bases[i]);
    if (place?.index.base[place.row] !== bases[i]) return null;
    if (place.index.last[place.row] < at) continue;
    if (!list.add(place.index, place.row)) return { rows: list.rows, next: bases[i] };
  }
  return { rows: list.rows, next: until };
}
