/**
 * Learns which batches of a slice hold which keys, by reading what was committed: behind the
 * appends, in small steps. A batch it cannot look into may hold any key.
 */
import { attributes, isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { readHead } from "./commit-value.ts";
import { valueKey } from "./environment.ts";
import { ANY_KEY, keyHash, KeyIndexWriter, type KeyIndexEntry } from "./key-index.ts";
import { KeyPostings } from "./key-postings.ts";
import { matchesRow } from "./recovery.ts";
import type { Slice } from "./slice.ts";
import type { PartitionIndex } from "./slice-index.ts";

const CODEC_MASK = 7;
/** Of the keys met last: most that come again within a batch are noticed. */
const SEEN = 4096;

export class SliceKeys {
  readonly #slice: Slice;
  readonly #postings: KeyPostings[] = [];
  #count = 0;
  /** The value to be read next. */
  #commit = 1;
  #number = 0;
  /** How many values the commit has; 0 until one of them told. */
  #values = 0;
  /** False: too many keys, or offsets are missing. There is nothing to look up then. */
  usable = true;

  constructor(slice: Slice) {
    this.#slice = slice;
  }

  /** Null where nothing is known: every batch may hold every key. */
  of(partition: number): KeyPostings | null {
    return this.usable ? (this.#postings[partition] ?? null) : null;
  }

  /** Reads for a while; true when it has come to the last commit. */
  step(ms: number): boolean {
    const until = performance.now() + ms;
    while (this.usable && this.#commit <= this.#slice.commits) {
      this.#readValue();
      if (performance.now() >= until) return false;
    }
    return true;
  }

  /** What is to be stored, once all was read; null: work without a result. */
  *entries(): Generator<KeyIndexEntry | null, void> {
    const { index, row } = this.#slice;
    const partitions = index ?? [];
    partitions.forEach((_, p) => this.#finish(p));
    for (let p = 0; p < partitions.length && this.usable; p++) {
      const { base } = partitions[p];
      const writer = new KeyIndexWriter(p, row.starts[p]);
      const sorting = this.#postings[p].sorted();
      let sorted = sorting.next();
      for (; sorted.done !== true; sorted = sorting.next()) yield null;
      const { hashes, rows } = sorted.value;
      for (let i = 0; i < hashes.length; i++) {
        if (i > 0 && hashes[i] === hashes[i - 1] && rows[i] === rows[i - 1]) continue;
        const chunk = writer.add(hashes[i], base[rows[i]]);
        if (chunk !== null) yield chunk;
      }
      yield* writer.end();
    }
  }

  #readValue(): void {
    const key = valueKey(this.#commit, this.#number, scratchKey);
    const found = this.#slice.environment.getBinaryFast(key);
    if (found !== undefined) {
      // `length` of what lmdb returns is right, its byteLength is not
      const value = new Uint8Array(found.buffer, found.byteOffset, found.length);
      const head = readHead(value);
      this.#values = head?.values ?? this.#values;
      for (const row of head?.rows ?? []) {
        const batch = value.subarray(row.position, row.position + row.length);
        this.#note(row.partition, row.baseOffset, matchesRow(batch, row) ? batch : null);
      }
    }
    this.#number++;
    const more = this.#values > 0 ? this.#number < this.#values : found !== undefined;
    if (more) return;
    this.#commit++;
    this.#number = 0;
    this.#values = 0;
  }

  #note(p: number, base: number, batch: Uint8Array | null): void {
    const index = this.#slice.index?.[p];
    if (index === undefined) return;
    const postings = this.#partition(p);
    const row = index.base[postings.rows] === base ? postings.rows : index.find(base);
    if (row >= index.count || index.base[row] !== base) return;
    this.#pass(p, row);
    if (!this.#join(p, index, row)) return;
    const before = postings.count;
    if (batch === null || !addKeys(postings, row, batch)) postings.add(ANY_KEY, row);
    postings.rows = row + 1;
    this.#count += postings.count - before;
    if (this.#count > limits.keyPostingsMax) this.#giveUp();
  }

  /** Rows that were not met, as their value cannot be read, may hold any key. */
  #pass(p: number, to: number): void {
    const postings = this.#partition(p);
    const index = this.#slice.index?.[p] as PartitionIndex;
    while (postings.rows < to && this.#join(p, index, postings.rows)) {
      postings.add(ANY_KEY, postings.rows++);
      this.#count++;
    }
  }

  #finish(p: number): void {
    const { index, row } = this.#slice;
    const { count, last } = (index as PartitionIndex[])[p];
    this.#pass(p, count);
    const end = count === 0 ? row.starts[p] : last[count - 1] + 1;
    if (end !== row.ends[p] && !row.compacted) this.#giveUp();
  }

  /** Who looks up a key must hear of missing offsets as any reader does: such a slice is read. */
  #join(p: number, index: PartitionIndex, row: number): boolean {
    const { starts, compacted } = this.#slice.row;
    const expected = row === 0 ? starts[p] : index.last[row - 1] + 1;
    if (index.base[row] !== expected && !compacted) this.#giveUp();
    return this.usable;
  }

  #partition(p: number): KeyPostings {
    return (this.#postings[p] ??= new KeyPostings());
  }

  #giveUp(): void {
    this.usable = false;
    this.#postings.length = 0;
  }
}

/** False when the keys cannot be told. */
function addKeys(postings: KeyPostings, row: number, batch: Uint8Array): boolean {
  if (isControl(batch)) return true;
  if ((attributes(batch) & CODEC_MASK) !== 0) return false;
  batchesSeen++;
  try {
    cursor.open(batch);
    while (cursor.next()) {
      if (cursor.keyStart < 0) continue;
      const hash = keyHash(batch, cursor.keyStart, cursor.keyEnd);
      const at = hash & (SEEN - 1);
      if (seenHash[at] === hash && seenIn[at] === batchesSeen) continue;
      seenHash[at] = hash;
      seenIn[at] = batchesSeen;
      postings.add(hash, row);
    }
    return true;
  } catch (error) {
    if (error instanceof MilepostError) return false;
    throw error;
  }
}

// one thread reads, so one set of scratch space serves all slices
const cursor = new RecordCursor();
const scratchKey = new Uint8Array(7);
const seenHash = new Uint32Array(SEEN);
const seenIn = new Float64Array(SEEN);
let batchesSeen = 0;
