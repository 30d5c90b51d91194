/**
 * Which batches of a sealed slice hold records of a key: the index as it stands in the slice's
 * file, for each partition a head and chunks. Keys are known by a hash of 32 bits: a batch may be
 * named that does not hold the key, never is one left out that does.
 *
 *     head     u32 CRC-32C of the rest | i64 origin | u32 first hash of each chunk
 *     chunk    u32 CRC-32C of the rest | entries, ascending by hash
 *     entry    u32 hash | varint bytes of its list | list
 *     list     base offsets of batches, ascending, as varints: the first minus the origin, each
 *              other minus the one before
 *
 * The entry of hash `ANY_KEY` lists the batches whose keys are not known. A look-up needs no more
 * than the values under their keys: any thread that has the file open can do it.
 */
import { crc32c } from "@node-rs/crc32";
import { i64, setI64, setU32, u32 } from "../batch/header.ts";
import { fnv1a, mixed } from "../lib/fnv.ts";
import { keyIndexKey } from "./environment.ts";

/** Compressed, undecodable and damaged batches stand under it; no key has it. */
export const ANY_KEY = 0;
/** A chunk ends with the list that makes it so large: a look-up reads one. */
const CHUNK_BYTES = 16 * 1024;
const CRC_BYTES = 4;
const HEAD_BYTES = CRC_BYTES + 8;
const VARINT_BYTES_MAX = 8;

export type KeyIndexEntry = [key: Uint8Array, value: Uint8Array];

/** FNV-1a, its bits mixed once more: chunks are ranges of hashes. */
export function keyHash(bytes: Uint8Array, start: number, end: number): number {
  const h = mixed(fnv1a(bytes, start, end)) >>> 0;
  return h === ANY_KEY ? 1 : h;
}

/** Takes what a partition has in order of hash and base offset; gives out what is to be stored. */
export class KeyIndexWriter {
  readonly #partition: number;
  readonly #origin: number;
  readonly #firsts: number[] = [];
  #chunk = new Uint8Array(2 * CHUNK_BYTES);
  #chunkBytes = CRC_BYTES;
  #list = new Uint8Array(1024);
  #listBytes = 0;
  #hash = -1;
  #previous = 0;

  /** No base offset is below `origin`. */
  constructor(partition: number, origin: number) {
    this.#partition = partition;
    this.#origin = origin;
  }

  /** The chunk that ends before this one, if one does. */
  add(hash: number, base: number): KeyIndexEntry | null {
    const full = hash === this.#hash ? null : this.#endList();
    if (hash !== this.#hash) {
      this.#hash = hash;
      this.#previous = this.#origin;
    }
    if (this.#listBytes + VARINT_BYTES_MAX > this.#list.byteLength) {
      this.#list = grown(this.#list, 2 * this.#list.byteLength);
    }
    this.#listBytes = writeVarint(this.#list, this.#listBytes, base - this.#previous);
    this.#previous = base;
    return full;
  }

  /** The last chunk, if there is any, and the head. */
  end(): KeyIndexEntry[] {
    const full = this.#endList();
    const entries = full === null ? [] : [full];
    if (this.#chunkBytes > CRC_BYTES) entries.push(this.#endChunk());
    const head = new Uint8Array(HEAD_BYTES + this.#firsts.length * 4);
    setI64(head, CRC_BYTES, this.#origin);
    this.#firsts.forEach((hash, i) => setU32(head, HEAD_BYTES + i * 4, hash));
    entries.push([keyIndexKey(this.#partition, 0), sealed(head)]);
    return entries;
  }

  #endList(): KeyIndexEntry | null {
    if (this.#listBytes === 0) return null;
    if (this.#chunkBytes === CRC_BYTES) this.#firsts.push(this.#hash);
    const need = this.#chunkBytes + 4 + VARINT_BYTES_MAX + this.#listBytes;
    if (need > this.#chunk.byteLength) this.#chunk = grown(this.#chunk, need);
    setU32(this.#chunk, this.#chunkBytes, this.#hash);
    const at = writeVarint(this.#chunk, this.#chunkBytes + 4, this.#listBytes);
    this.#chunk.set(this.#list.subarray(0, this.#listBytes), at);
    this.#chunkBytes = at + this.#listBytes;
    this.#listBytes = 0;
    return this.#chunkBytes < CHUNK_BYTES ? null : this.#endChunk();
  }

  #endChunk(): KeyIndexEntry {
    const value = sealed(this.#chunk.slice(0, this.#chunkBytes));
    this.#chunkBytes = CRC_BYTES;
    return [keyIndexKey(this.#partition, this.#firsts.length), value];
  }
}

/** Reads a value of the slice's file. */
export type Get = (key: Uint8Array) => Uint8Array | undefined;

/**
 * Base offsets of the batches that may hold a record of the key in `from` to `to`, ascending; the
 * first may end before `from`. Null when there is no index, or a damaged one: any batch may.
 */
export function keyedBases(
  get: Get,
  partition: number,
  hash: number,
  from: number,
  to: number,
): number[] | null {
  const head = unsealed(get(keyIndexKey(partition, 0)), HEAD_BYTES);
  if (head === null) return null;
  const lists = [ANY_KEY, hash].map((wanted) => {
    const chunk = chunkOf(head, wanted);
    if (chunk === 0) return [];
    const bytes = unsealed(get(keyIndexKey(partition, chunk)), CRC_BYTES);
    return bytes === null ? null : listOf(bytes, wanted, i64(head, CRC_BYTES), from, to);
  });
  const [any, own] = lists;
  return any === null || own === null ? null : merge(any, own);
}

/** How many chunks there are; null when the head fails its checksum. */
export function keyIndexChunks(head: Uint8Array): number | null {
  return unsealed(head, HEAD_BYTES) === null ? null : (head.byteLength - HEAD_BYTES) >> 2;
}

/** All base offsets that a chunk lists; null when it fails its checksum. */
export function keyIndexBases(head: Uint8Array, chunk: Uint8Array): number[] | null {
  if (unsealed(chunk, CRC_BYTES) === null) return null;
  const bases: number[] = [];
  const at = new Cursor(chunk);
  while (at.entry()) {
    let base = i64(head, CRC_BYTES);
    while (at.at < at.end) bases.push((base += at.varint()));
  }
  return bases;
}

/** Number of the chunk that would hold a hash, from 1; 0: none does. */
function chunkOf(head: Uint8Array, hash: number): number {
  let low = 0;
  let high = (head.byteLength - HEAD_BYTES) >> 2;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (u32(head, HEAD_BYTES + (middle - 1) * 4) <= hash) low = middle;
    else high = middle - 1;
  }
  return low;
}

function listOf(
  chunk: Uint8Array,
  hash: number,
  origin: number,
  from: number,
  to: number,
): number[] {
  const bases: number[] = [];
  const cursor = new Cursor(chunk);
  while (cursor.entry() && cursor.hash < hash) cursor.at = cursor.end;
  if (cursor.hash !== hash) return bases;
  let base = origin;
  while (cursor.at < cursor.end && (base += cursor.varint()) < to) {
    // the last one that begins at or before `from` may reach into the range
    if (base <= from) bases[0] = base;
    else bases.push(base);
  }
  return bases;
}

/** Steps over the entries of a chunk. */
class Cursor {
  hash = -1;
  at = CRC_BYTES;
  /** Of the list that begins at `at`. */
  end = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  entry(): boolean {
    if (this.at >= this.#bytes.byteLength) return false;
    this.hash = u32(this.#bytes, this.at);
    this.at += 4;
    const bytes = this.varint();
    this.end = this.at + bytes;
    return true;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.at++];
      if (byte < 0x80) return value + byte * scale;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
  }
}

function writeVarint(out: Uint8Array, at: number, value: number): number {
  let v = value;
  for (; v >= 0x8000_0000; v = Math.floor(v / 128)) out[at++] = (v % 128) | 0x80;
  for (; v >= 0x80; v >>>= 7) out[at++] = v | 0x80;
  out[at++] = v;
  return at;
}

/** Of two ascending lists, without repetition. */
function merge(a: number[], b: number[]): number[] {
  if (a.length === 0 || b.length === 0) return a.length === 0 ? b : a;
  const out: number[] = [];
  let j = 0;
  for (const value of a) {
    while (j < b.length && b[j] < value) out.push(b[j++]);
    if (b[j] === value) j++;
    out.push(value);
  }
  while (j < b.length) out.push(b[j++]);
  return out;
}

function grown(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(size);
  out.set(bytes);
  return out;
}

function sealed(bytes: Uint8Array): Uint8Array {
  setU32(bytes, 0, crc32c(bytes.subarray(CRC_BYTES)));
  return bytes;
}

function unsealed(bytes: Uint8Array | undefined, least: number): Uint8Array | null {
  if (bytes === undefined || bytes.byteLength < least) return null;
  return u32(bytes, 0) === crc32c(bytes.subarray(CRC_BYTES)) ? bytes : null;
}
