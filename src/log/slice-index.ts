/**
 * Where each batch of one partition lies in a slice: parallel typed arrays, ascending by offset.
 * The open slice keeps one per partition; a sealed slice keeps the same rows in chunks in its own
 * file, each of which loads as such an index. Holds no handle: any thread can build one.
 */
import { crc32c } from "@node-rs/crc32";
import { i64, setI64, setU32, u32 } from "../batch/header.ts";

const ROWS_MIN = 64;
const CHUNK_HEAD_BYTES = 8;
const CHUNK_ROW_BYTES = 40;
/** A chunk of 408 rows fills four pages. */
export const CHUNK_ROWS = 408;

export class PartitionIndex {
  count = 0;
  base: Float64Array;
  last: Float64Array;
  maxTimestamp: Float64Array;
  commit: Uint32Array;
  value: Uint32Array;
  position: Uint32Array;
  length: Uint32Array;

  constructor(rows = ROWS_MIN) {
    this.base = new Float64Array(rows);
    this.last = new Float64Array(rows);
    this.maxTimestamp = new Float64Array(rows);
    this.commit = new Uint32Array(rows);
    this.value = new Uint32Array(rows);
    this.position = new Uint32Array(rows);
    this.length = new Uint32Array(rows);
  }

  add(
    base: number,
    last: number,
    maxTimestamp: number,
    commit: number,
    value: number,
    position: number,
    length: number,
  ): void {
    const i = this.count;
    if (i === this.base.length) this.#grow();
    this.base[i] = base;
    this.last[i] = last;
    this.maxTimestamp[i] = maxTimestamp;
    this.commit[i] = commit;
    this.value[i] = value;
    this.position[i] = position;
    this.length[i] = length;
    this.count++;
  }

  /** The first row whose last offset is at least `offset`; `count` when there is none. */
  find(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.last[middle] < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  encodeChunk(from: number, to: number): Uint8Array {
    const out = new Uint8Array(CHUNK_HEAD_BYTES + (to - from) * CHUNK_ROW_BYTES);
    setU32(out, 4, to - from);
    let at = CHUNK_HEAD_BYTES;
    for (let i = from; i < to; i++, at += CHUNK_ROW_BYTES) {
      setI64(out, at, this.base[i]);
      setI64(out, at + 8, this.maxTimestamp[i]);
      setU32(out, at + 16, this.last[i] - this.base[i]);
      setU32(out, at + 20, this.commit[i]);
      setU32(out, at + 24, this.value[i]);
      setU32(out, at + 28, this.position[i]);
      setU32(out, at + 32, this.length[i]);
    }
    setU32(out, 0, crc32c(out.subarray(4)));
    return out;
  }

  /** Null when the bytes are not what was written. */
  static decodeChunk(bytes: Uint8Array): PartitionIndex | null {
    if (bytes.byteLength < CHUNK_HEAD_BYTES) return null;
    const rows = u32(bytes, 4);
    if (bytes.byteLength !== CHUNK_HEAD_BYTES + rows * CHUNK_ROW_BYTES) return null;
    if (u32(bytes, 0) !== crc32c(bytes.subarray(4))) return null;
    const index = new PartitionIndex(rows);
    let at = CHUNK_HEAD_BYTES;
    for (let i = 0; i < rows; i++, at += CHUNK_ROW_BYTES) {
      const base = i64(bytes, at);
      index.add(
        base,
        base + u32(bytes, at + 16),
        i64(bytes, at + 8),
        u32(bytes, at + 20),
        u32(bytes, at + 24),
        u32(bytes, at + 28),
        u32(bytes, at + 32),
      );
    }
    return index;
  }

  #grow(): void {
    const size = this.base.length * 2;
    const wider = <A extends Float64Array | Uint32Array>(old: A, grown: A): A => {
      grown.set(old);
      return grown;
    };
    this.base = wider(this.base, new Float64Array(size));
    this.last = wider(this.last, new Float64Array(size));
    this.maxTimestamp = wider(this.maxTimestamp, new Float64Array(size));
    this.commit = wider(this.commit, new Uint32Array(size));
    this.value = wider(this.value, new Uint32Array(size));
    this.position = wider(this.position, new Uint32Array(size));
    this.length = wider(this.length, new Uint32Array(size));
  }
}
