/**
 * The last fix of each driver seen on one connection, for the flag `jump`. Nearly every connection
 * carries one driver: the table begins with one row, and grows for a gateway's many. Drivers are
 * told apart by 64 bits of hash, so that no key is copied or made a string.
 */
import { METRES_PER_DEGREE, metresOf, RADIANS } from "../lib/earth.ts";

const METRES_PER_SECOND_MAX = 300 / 3.6;

/** 128 KiB for a connection that carries a whole fleet; drivers beyond take each other's place. */
const ROWS_MAX = 4096;
/** A driver lies in one of so many rows from its own on. */
const PROBES = 4;

/** Time of a driver that has no fix yet: nothing is a jump from it. A free row has NaN. */
const NEVER = Infinity;

export class DriverMemory {
  #rows = 1;
  #used = 0;
  /** Two words of hash a row. */
  #hashes = new Int32Array(2);
  /** Time, latitude, longitude of a row. */
  #fixes = new Float64Array(3).fill(Number.NaN);
  /** The row of the last `jump()`, and whose it is when that was told by identity. */
  #row = 0;
  #identity: Uint8Array | null = null;

  /**
   * Whether a driver's fix is farther from the previous one than 300 km/h allow. `identity`: the
   * sender's, when it has one; then the key is known to equal it. Times are the device's own.
   */
  jump(
    identity: Uint8Array | null,
    key: Uint8Array,
    keyStart: number,
    keyEnd: number,
    ts: number,
    lat: number,
    lon: number,
  ): boolean {
    if (identity === null || identity !== this.#identity) this.#find(key, keyStart, keyEnd);
    this.#identity = identity;
    const fixes = this.#fixes;
    const at = this.#row * 3;
    const reach = Math.max(Math.abs(ts - fixes[at]) / 1000, 1) * METRES_PER_SECOND_MAX;
    // The way along the parallel and the meridian is never shorter: most pings end here.
    const around = Math.abs(lat - fixes[at + 1]) + Math.abs(lon - fixes[at + 2]);
    if (around * METRES_PER_DEGREE <= reach) return false;
    return metresBetween(fixes[at + 1], fixes[at + 2], lat, lon) > reach;
  }

  /** Keeps the fix just asked about. Must follow `jump()` once the ping is accepted. */
  keep(ts: number, lat: number, lon: number): void {
    const fixes = this.#fixes;
    const at = this.#row * 3;
    fixes[at] = ts;
    fixes[at + 1] = lat;
    fixes[at + 2] = lon;
  }

  #find(key: Uint8Array, start: number, end: number): void {
    let a = 0x811c9dc5 | 0;
    let b = end - start;
    for (let i = start; i < end; i++) {
      a = Math.imul(a ^ key[i], 0x01000193);
      b = Math.imul(b + key[i], 0x2c1b3c6d) ^ (b >>> 15);
    }
    let row = this.#rowOf(a, b);
    if (this.#isRowOf(row, a, b)) {
      this.#row = row;
      return;
    }
    if (this.#used * 2 >= this.#rows && this.#used > 0 && this.#rows < ROWS_MAX) {
      this.#grow();
      row = this.#rowOf(a, b);
    }
    this.#take(row, a, b);
    this.#fixes[row * 3] = NEVER;
    this.#row = row;
  }

  /** The driver's row, else a free one, else its first, whose driver is forgotten. */
  #rowOf(a: number, b: number): number {
    const mask = this.#rows - 1;
    const first = (a ^ (a >>> 16)) & mask;
    let free = -1;
    for (let i = 0; i < PROBES; i++) {
      const row = (first + i) & mask;
      if (this.#isRowOf(row, a, b)) return row;
      if (free < 0 && Number.isNaN(this.#fixes[row * 3])) free = row;
    }
    return free < 0 ? first : free;
  }

  #isRowOf(row: number, a: number, b: number): boolean {
    const isTaken = !Number.isNaN(this.#fixes[row * 3]);
    return isTaken && this.#hashes[row * 2] === a && this.#hashes[row * 2 + 1] === b;
  }

  #take(row: number, a: number, b: number): void {
    if (Number.isNaN(this.#fixes[row * 3])) this.#used++;
    this.#hashes[row * 2] = a;
    this.#hashes[row * 2 + 1] = b;
  }

  #grow(): void {
    const [rows, hashes, fixes] = [this.#rows, this.#hashes, this.#fixes];
    this.#rows = rows * 4;
    this.#used = 0;
    this.#hashes = new Int32Array(this.#rows * 2);
    this.#fixes = new Float64Array(this.#rows * 3).fill(Number.NaN);
    for (let row = 0; row < rows; row++) {
      if (Number.isNaN(fixes[row * 3])) continue;
      const to = this.#rowOf(hashes[row * 2], hashes[row * 2 + 1]);
      this.#take(to, hashes[row * 2], hashes[row * 2 + 1]);
      for (let i = 0; i < 3; i++) this.#fixes[to * 3 + i] = fixes[row * 3 + i];
    }
  }
}

export function metresBetween(latA: number, lonA: number, latB: number, lonB: number): number {
  const sinLat = Math.sin(((latB - latA) * RADIANS) / 2);
  const sinLon = Math.sin(((lonB - lonA) * RADIANS) / 2);
  const h = sinLat * sinLat + Math.cos(latA * RADIANS) * Math.cos(latB * RADIANS) * sinLon * sinLon;
  return metresOf(h);
}
