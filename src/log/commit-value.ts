/**
 * What one LMDB value of a slice holds: batches of several partitions in commit order, after a
 * head that names each, so that a slice can be rebuilt from its values alone and a base offset, a
 * length or an epoch gone wrong is noticed (a batch's own CRC covers none of them).
 *
 *     0 u32 CRC-32C of the rest of the head     20 u16 number of this value in its commit
 *     4 u16 magic         6 u16 batches         22 u16 values of the commit
 *     8 f64 time of the append, ms              24 rows: u32 partition, u32 length,
 *    16 u32 commit                                 i64 base offset, i32 leader epoch
 *
 * The batches follow, one after the other.
 */
import { crc32c } from "@node-rs/crc32";
import { i64, setI64, setU32, u32 } from "../batch/header.ts";
import { limits } from "../model/limits.ts";

const VALUE_MAGIC = 0x4d50;
export const VALUE_HEAD_BYTES = 24;
export const ROW_BYTES = 20;
const PAGE_BYTES = 4096;
/** LMDB's own header on the first page of a large value. */
const PAGE_HEAD_BYTES = 24;
/** A head counts its batches in 16 bits; kept far below. */
const BATCHES_MAX = 1024;

/**
 * Where the value that begins with batch `from` ends. The rest of a commit goes into one value
 * when it is small; else the cut is made past 16 KiB where the last page is filled best: a value
 * takes whole pages, and half a page lost per value would be a tenth of the file.
 */
export function cutValue(lengths: ArrayLike<number>, from: number, count: number): number {
  let total = VALUE_HEAD_BYTES;
  let best = 0;
  let bestWaste = 2;
  let at = from;
  while (at < count && at - from < BATCHES_MAX) {
    const grown = total + ROW_BYTES + lengths[at];
    if (grown > 2 * limits.valueBytes && at > from) break;
    total = grown;
    at++;
    if (total >= limits.valueBytes - PAGE_BYTES) {
      const pages = Math.ceil((total + PAGE_HEAD_BYTES) / PAGE_BYTES);
      const waste = (pages * PAGE_BYTES - PAGE_HEAD_BYTES - total) / total;
      if (waste <= bestWaste) {
        bestWaste = waste;
        best = at;
      }
    }
  }
  return at === count || best === 0 ? at : best;
}

export function writeHead(
  out: Uint8Array,
  view: DataView,
  count: number,
  appendedMs: number,
  commit: number,
  number: number,
  values: number,
): void {
  view.setUint16(4, VALUE_MAGIC);
  view.setUint16(6, count);
  view.setFloat64(8, appendedMs);
  view.setUint32(16, commit);
  view.setUint16(20, number);
  view.setUint16(22, values);
  setU32(out, 0, crc32c(out.subarray(4, VALUE_HEAD_BYTES + count * ROW_BYTES)));
}

export function writeRow(
  out: Uint8Array,
  row: number,
  partition: number,
  length: number,
  baseOffset: number,
  epoch: number,
): void {
  const at = VALUE_HEAD_BYTES + row * ROW_BYTES;
  setU32(out, at, partition);
  setU32(out, at + 4, length);
  setI64(out, at + 8, baseOffset);
  setU32(out, at + 16, epoch);
}

export type Row = {
  partition: number;
  baseOffset: number;
  epoch: number;
  /** Of the batch within the value. */
  position: number;
  length: number;
};

export type ValueHead = {
  appendedMs: number;
  commit: number;
  number: number;
  values: number;
  rows: Row[];
};

/** Null when the head fails its CRC or does not fit the value. */
export function readHead(value: Uint8Array): ValueHead | null {
  if (value.byteLength < VALUE_HEAD_BYTES) return null;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const count = view.getUint16(6);
  const headBytes = VALUE_HEAD_BYTES + count * ROW_BYTES;
  if (view.getUint16(4) !== VALUE_MAGIC || headBytes > value.byteLength) return null;
  if (u32(value, 0) !== crc32c(value.subarray(4, headBytes))) return null;
  const rows: Row[] = [];
  let position = headBytes;
  for (let i = 0; i < count; i++) {
    const at = VALUE_HEAD_BYTES + i * ROW_BYTES;
    const length = u32(value, at + 4);
    rows.push({
      partition: u32(value, at),
      baseOffset: i64(value, at + 8),
      epoch: view.getInt32(at + 16),
      position,
      length,
    });
    position += length;
  }
  if (position !== value.byteLength) return null;
  return {
    appendedMs: view.getFloat64(8),
    commit: view.getUint32(16),
    number: view.getUint16(20),
    values: view.getUint16(22),
    rows,
  };
}

/** The value again with only the rows `keep` says; null when none is left. */
export function keepRows(
  value: Uint8Array,
  head: ValueHead,
  keep: (row: Row) => boolean,
): Uint8Array | null {
  const rows = head.rows.filter(keep);
  if (rows.length === 0) return null;
  let total = VALUE_HEAD_BYTES + rows.length * ROW_BYTES;
  let at = total;
  for (const row of rows) total += row.length;
  const out = new Uint8Array(total);
  rows.forEach((row, i) => {
    writeRow(out, i, row.partition, row.length, row.baseOffset, row.epoch);
    out.set(value.subarray(row.position, row.position + row.length), at);
    at += row.length;
  });
  const { appendedMs, commit, number, values } = head;
  writeHead(out, new DataView(out.buffer), rows.length, appendedMs, commit, number, values);
  return out;
}
