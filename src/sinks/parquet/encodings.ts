/**
 * Parquet's encodings of a page's values, by the names of parquet-format's Encodings.md. Only those
 * that DuckDB, Spark, Trino and Arrow have read for years.
 */
import type { ByteWriter } from "./byte-writer.ts";

const blockValues = 128;
const miniBlocks = 4;
const miniBlockValues = blockValues / miniBlocks;
/** Values within ±this and as near to each other have differences that doubles hold exactly. */
const deltaMax = 2 ** 52;
const twoTo24 = 2 ** 24;
const twoTo32 = 2 ** 32;

const deltas = new Float64Array(blockValues);

/** How many bits a whole number below 2^53 has. */
export function bitsOf(value: number): number {
  return value < twoTo32 ? 32 - Math.clz32(value) : 64 - Math.clz32(Math.floor(value / twoTo32));
}

/**
 * RLE / bit-packing hybrid: runs of 8 equal values and more, and groups of 8 between them. Values
 * have `width` bits, 1 to 24.
 */
export function hybrid(out: ByteWriter, values: Int32Array, count: number, width: number): void {
  let packedFrom = 0;
  for (let at = 0; at < count;) {
    const value = values[at];
    let end = at + 1;
    while (end < count && values[end] === value) end++;
    // the group that is open takes the run's first values
    const runFrom = at + ((packedFrom - at) & 7);
    if (end - runFrom >= 8) {
      if (runFrom > packedFrom) packGroups(out, values, packedFrom, runFrom, width);
      out.varint(2 * (end - runFrom));
      for (let bits = 0; bits < width; bits += 8) out.byte(value >>> bits);
      packedFrom = end;
    }
    at = end;
  }
  if (count > packedFrom) packGroups(out, values, packedFrom, count, width);
}

/** The last group is filled up with zeros. */
function packGroups(
  out: ByteWriter,
  values: Int32Array,
  from: number,
  to: number,
  width: number,
): void {
  const groups = Math.ceil((to - from) / 8);
  out.varint(2 * groups + 1);
  out.room(groups * width + 4);
  const { bytes } = out;
  let { end } = out;
  const packedEnd = end + groups * width;
  let bits = 0;
  let waiting = 0;
  for (let i = from; i < to; i++) {
    waiting |= values[i] << bits;
    for (bits += width; bits >= 8; bits -= 8) {
      bytes[end++] = waiting;
      waiting >>>= 8;
    }
  }
  if (bits > 0) bytes[end++] = waiting;
  bytes.fill(0, end, packedEnd);
  out.end = packedEnd;
}

/**
 * Definition levels of a page, version 1: its length, and one level a row. `levels` null: no row
 * lacks a value.
 */
export function definitionLevels(out: ByteWriter, levels: Int32Array | null, rows: number): void {
  const lengthAt = out.end;
  out.uint32(0);
  if (levels !== null) hybrid(out, levels, rows, 1);
  else {
    out.varint(2 * rows);
    out.byte(1);
  }
  out.setUint32(lengthAt, out.end - lengthAt - 4);
}

/** Whether `deltaBinaryPacked` takes them. */
export function areNear(min: number, max: number): boolean {
  return min >= -deltaMax && max <= deltaMax && max - min <= deltaMax;
}

/** DELTA_BINARY_PACKED, of whole numbers that `areNear` each other. */
export function deltaBinaryPacked(out: ByteWriter, values: Float64Array, count: number): void {
  out.varint(blockValues);
  out.varint(miniBlocks);
  out.varint(count);
  out.zigzag(count === 0 ? 0 : values[0]);
  for (let at = 1; at < count; at += blockValues) {
    const end = Math.min(at + blockValues, count);
    let min = Infinity;
    for (let i = at; i < end; i++) {
      const delta = values[i] - values[i - 1];
      deltas[i - at] = delta;
      if (delta < min) min = delta;
    }
    for (let k = 0; k < end - at; k++) deltas[k] -= min;
    deltas.fill(0, end - at);
    out.zigzag(min);
    packBlock(out, end - at);
  }
}

/** `deltas`: the widths of its miniblocks, and those that have values. */
function packBlock(out: ByteWriter, count: number): void {
  out.room(miniBlocks + 8 * blockValues);
  const widthsAt = out.end;
  out.end += miniBlocks;
  for (let mini = 0; mini < miniBlocks; mini++) {
    const from = mini * miniBlockValues;
    let max = 0;
    for (let k = from; k < from + miniBlockValues; k++) if (deltas[k] > max) max = deltas[k];
    const width = bitsOf(max);
    out.bytes[widthsAt + mini] = width;
    if (from < count && width > 0) packDeltas(out, from, width);
  }
}

function packDeltas(out: ByteWriter, from: number, width: number): void {
  const { bytes } = out;
  let { end } = out;
  let bits = 0;
  let waiting = 0;
  for (let k = from; k < from + miniBlockValues; k++) {
    let rest = deltas[k];
    // 24 at a time, so that they fit into 32 bits behind those that wait
    for (let left = width; left > 0; left -= 24) {
      const high = left > 24 ? Math.floor(rest / twoTo24) : 0;
      waiting |= (rest - high * twoTo24) << bits;
      for (bits += Math.min(left, 24); bits >= 8; bits -= 8) {
        bytes[end++] = waiting;
        waiting >>>= 8;
      }
      rest = high;
    }
  }
  out.end = end;
}

/** BYTE_STREAM_SPLIT: the first bytes of all values, then the second ones. */
export function byteStreamSplit(
  out: ByteWriter,
  values: Uint8Array,
  count: number,
  width: number,
): void {
  out.room(count * width);
  const { bytes, end } = out;
  for (let k = 0; k < width; k++) {
    const stream = end + k * count;
    for (let i = 0, from = k; i < count; i++, from += width) bytes[stream + i] = values[from];
  }
  out.end += count * width;
}
