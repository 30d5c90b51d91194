/**
 * Bytes of a million small things, without an object for each: entries of a multiple of 16 B in
 * blocks of 4 MiB. What is given back is taken again by entries of the same size.
 */
import { copyBytes } from "../lib/copy-bytes.ts";

const UNIT = 16;
const BLOCK_UNITS = (4 * 1024 * 1024) / UNIT;

export class Arena {
  readonly #blocks: Buffer[] = [];
  /** Of the last block. */
  #used = BLOCK_UNITS;
  /** Free entries by their units. */
  readonly #free = new Map<number, number[]>();
  readonly #blocksMax: number;

  constructor(bytesMax: number) {
    this.#blocksMax = Math.max(1, Math.floor(bytesMax / (BLOCK_UNITS * UNIT)));
  }

  /** Whether `take` stays within what the arena may grow to; it never refuses. */
  hasRoom(bytes: number): boolean {
    const blocks = this.#blocks.length;
    if (blocks < this.#blocksMax) return true;
    const units = this.sizeOf(bytes);
    if ((this.#free.get(units)?.length ?? 0) > 0) return true;
    return blocks === this.#blocksMax && this.#used + units <= BLOCK_UNITS;
  }

  /** Of memory, in units, for so many bytes. */
  sizeOf(bytes: number): number {
    return Math.max(1, Math.ceil(bytes / UNIT));
  }

  take(bytes: number): number {
    const units = this.sizeOf(bytes);
    const free = this.#free.get(units)?.pop();
    if (free !== undefined) return free;
    if (this.#used + units > BLOCK_UNITS) {
      this.#blocks.push(Buffer.allocUnsafeSlow(BLOCK_UNITS * UNIT));
      this.#used = 0;
    }
    const entry = (this.#blocks.length - 1) * BLOCK_UNITS + this.#used;
    this.#used += units;
    return entry;
  }

  giveBack(entry: number, bytes: number): void {
    const units = this.sizeOf(bytes);
    const free = this.#free.get(units);
    if (free === undefined) this.#free.set(units, [entry]);
    else free.push(entry);
  }

  write(entry: number, at: number, from: Uint8Array, start: number, end: number): void {
    copyBytes(from, start, end, this.#block(entry), this.#place(entry) + at);
  }

  read(entry: number, from: number, to: number, target: Uint8Array, at: number): void {
    const place = this.#place(entry);
    copyBytes(this.#block(entry), place + from, place + to, target, at);
  }

  copy(from: number, to: number, bytes: number): void {
    const place = this.#place(from);
    this.write(to, 0, this.#block(from), place, place + bytes);
  }

  isSame(entry: number, bytes: Uint8Array, start: number, end: number): boolean {
    const block = this.#block(entry);
    let place = this.#place(entry);
    for (let i = start; i < end; i++) if (block[place++] !== bytes[i]) return false;
    return true;
  }

  text(entry: number, at: number, bytes: number): string {
    const start = this.#place(entry) + at;
    return this.#block(entry).toString("utf8", start, start + bytes);
  }

  view(entry: number, at: number, bytes: number): Uint8Array {
    const start = this.#place(entry) + at;
    return this.#block(entry).subarray(start, start + bytes);
  }

  #block(entry: number): Buffer {
    return this.#blocks[Math.floor(entry / BLOCK_UNITS)];
  }

  #place(entry: number): number {
    return (entry % BLOCK_UNITS) * UNIT;
  }
}
