/**
 * Which batches of one partition hold which keys, in memory, while their slice is not sealed: a
 * pair of numbers each, the key's hash and the row in the partition's index, in order of the rows.
 */
import { ANY_KEY } from "./key-index.ts";

/** Pairs in a block, 8 KB: a partition with few batches takes no more. */
const BLOCK = 1024;
/** Of one look-up, which nothing interrupts: some tenths of a millisecond. */
const LOOK_BLOCKS = 128;
/** About so many rows in its answer, 48 KB. */
const LOOK_ROWS = 1024;
/** Pairs between two pauses of a sort: about a millisecond. */
const PAUSE_EVERY = 128 * BLOCK;
const DIGIT_BITS = 11;
/** Of the digits of a hash, the least significant first. */
const SHIFTS = [0, DIGIT_BITS, 2 * DIGIT_BITS];

type Pairs = { hashes: Uint32Array; rows: Uint32Array };

export class KeyPostings {
  /** Rows below were looked at. */
  rows = 0;
  count = 0;
  readonly #blocks: Uint32Array[] = [];

  /** `row`: not below the last one. */
  add(hash: number, row: number): void {
    const at = 2 * (this.count++ % BLOCK);
    if (at === 0) this.#blocks.push(new Uint32Array(2 * BLOCK));
    const block = this.#blocks[this.#blocks.length - 1];
    block[at] = hash;
    block[at + 1] = row;
  }

  /** Rows from `from` on that may hold the key, ascending: all that lie below row `to`. */
  find(hash: number, from: number): { rows: number[]; to: number } {
    const rows: number[] = [];
    let last = -1;
    const first = this.#blockBefore(from);
    for (let b = first; b < this.#blocks.length; b++) {
      const block = this.#blocks[b];
      const begins = block[1];
      const isEnough = b - first >= LOOK_BLOCKS || rows.length >= LOOK_ROWS;
      if (isEnough && begins > from) return { rows, to: last === begins ? last + 1 : begins };
      const end = 2 * Math.min(this.count - b * BLOCK, BLOCK);
      for (let at = 0; at < end; at += 2) {
        const found = block[at];
        if (found !== hash && found !== ANY_KEY) continue;
        const row = block[at + 1];
        if (row < from || row === last) continue;
        rows.push((last = row));
      }
    }
    return { rows, to: this.rows };
  }

  /** By hash and row. Yields on the way: a million takes some ten milliseconds. */
  *sorted(): Generator<void, Pairs> {
    let from = newPairs(this.count);
    for (let i = 0; i < this.count; i++) {
      const block = this.#blocks[Math.floor(i / BLOCK)];
      from.hashes[i] = block[2 * (i % BLOCK)];
      from.rows[i] = block[2 * (i % BLOCK) + 1];
      if (i % PAUSE_EVERY === PAUSE_EVERY - 1) yield;
    }
    let to = newPairs(this.count);
    for (const shift of SHIFTS) {
      yield* sortByDigit(from, to, shift);
      [from, to] = [to, from];
    }
    return from;
  }

  /** The last block that begins below a row; the first when none does. */
  #blockBefore(row: number): number {
    let low = 0;
    let high = this.#blocks.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#blocks[middle][1] < row) low = middle;
      else high = middle - 1;
    }
    return Math.max(low, 0);
  }
}

const newPairs = (count: number): Pairs => ({
  hashes: new Uint32Array(count),
  rows: new Uint32Array(count),
});

/** Keeps the order of what has the same digit. */
function* sortByDigit(from: Pairs, to: Pairs, shift: number): Generator<void, void> {
  const { hashes, rows } = from;
  const next = new Uint32Array(1 << DIGIT_BITS);
  const mask = next.length - 1;
  for (const hash of hashes) next[(hash >>> shift) & mask]++;
  let before = 0;
  for (let digit = 0; digit < next.length; digit++) {
    const count = next[digit];
    next[digit] = before;
    before += count;
  }
  for (let i = 0; i < hashes.length; i++) {
    const place = next[(hashes[i] >>> shift) & mask]++;
    to.hashes[place] = hashes[i];
    to.rows[place] = rows[i];
    if (i % PAUSE_EVERY === PAUSE_EVERY - 1) yield;
  }
}
