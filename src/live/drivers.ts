/**
 * The last position of each driver: columns of numbers, one row a driver, and an arena for what is
 * no number.
 *
 *     row     lat lon | ts received | offset partition | trip | flags      columns below
 *     entry   the driver's id, then the members of its ping behind `lon`   in the arena
 *
 * The JSON of a position is put together again from both (`json`); equal to what was sent, as JSON.
 * Columns are replaced when the table grows: read them from the table each time.
 */
import { randomInt } from "node:crypto";
import { limits } from "../model/limits.ts";
import { fnv1a, mixed } from "../lib/fnv.ts";
import { Arena } from "./arena.ts";
import type { LivePing } from "./live-ping.ts";

export const NO_ROW = -1;
const ROWS_MIN = 1024;
/** The longest entry that `idBytes` and `restBytes` can count. */
export const ENTRY_BYTES_MAX = 0xff + 0xffff;

/** Bits of `flags`. */
export const STALE = 1;
/** Since the driver was last written to topic `latest`. */
export const CHANGED = 2;

export class DriverTable {
  lat = new Float64Array(ROWS_MIN);
  lon = new Float64Array(ROWS_MIN);
  /** ms, of the fix as sent and of its arrival. */
  ts = new Float64Array(ROWS_MIN);
  received = new Float64Array(ROWS_MIN);
  offset = new Float64Array(ROWS_MIN);
  partition = new Uint16Array(ROWS_MIN);
  /** Hash of the trip's id; 0: none. */
  trip = new Int32Array(ROWS_MIN);
  flags = new Uint8Array(ROWS_MIN);
  /** Lengths of the entry's two parts. */
  idBytes = new Uint8Array(ROWS_MIN);
  restBytes = new Uint16Array(ROWS_MIN);
  /** Rows that may be in use: below this. Rows of removed drivers have an id of no length. */
  rows = 0;
  /** Drivers known. */
  count = 0;
  readonly #arena: Arena;
  #entry = new Uint32Array(ROWS_MIN);
  /** Open addressing: row + 1, 0 for a free place. Half of the places stay free. */
  #places = new Int32Array(2 * ROWS_MIN);
  #hash = new Int32Array(ROWS_MIN);
  readonly #free: number[] = [];

  readonly #seed: number;

  /**
   * `bytesMax`: of entries; beyond, a driver is known by its position alone. `seed`: of the hash;
   * nobody can choose ids that collide.
   */
  constructor(bytesMax: number = limits.driversBytesMax, seed: number = randomInt(2 ** 32)) {
    this.#arena = new Arena(bytesMax);
    this.#seed = seed;
  }

  /** Rows there is memory for: columns of others are as long. */
  get capacity(): number {
    return this.lat.length;
  }

  /** The row of a driver, `NO_ROW` when it was never seen. */
  find(id: Uint8Array, start: number, end: number): number {
    const place = this.#placeOf(hashOf(this.#seed, id, start, end), id, start, end);
    return this.#places[place] - 1;
  }

  findId(id: string): number {
    const bytes = Buffer.from(id);
    return this.find(bytes, 0, bytes.byteLength);
  }

  /** The row of a driver that was not there before. Its columns are the caller's to fill. */
  add(id: Uint8Array, start: number, end: number): number {
    const row = this.#free.pop() ?? this.#nextRow();
    const hash = hashOf(this.#seed, id, start, end);
    this.#places[this.#placeOf(hash, id, start, end)] = row + 1;
    this.#hash[row] = hash;
    this.idBytes[row] = end - start;
    this.restBytes[row] = 0;
    this.#entry[row] = this.#arena.take(end - start);
    this.#arena.write(this.#entry[row], 0, id, start, end);
    this.flags[row] = 0;
    this.trip[row] = 0;
    this.count++;
    return row;
  }

  /** Makes `ping` the last position of the driver. */
  keep(row: number, ping: LivePing, partition: number): void {
    this.lat[row] = ping.lat;
    this.lon[row] = ping.lon;
    this.ts[row] = ping.ts;
    this.received[row] = ping.received;
    this.offset[row] = ping.offset;
    this.partition[row] = partition;
    this.trip[row] = ping.tripHash;
    this.flags[row] = CHANGED;
    this.keepRest(row, ping.rest, ping.restStart, ping.restEnd);
  }

  keepRest(row: number, rest: Uint8Array, start: number, end: number): void {
    const arena = this.#arena;
    const idBytes = this.idBytes[row];
    const had = idBytes + this.restBytes[row];
    let needs = idBytes + end - start;
    if (needs > had && !arena.hasRoom(needs)) {
      end = start;
      needs = idBytes;
    }
    if (arena.sizeOf(had) !== arena.sizeOf(needs)) {
      const old = this.#entry[row];
      this.#entry[row] = arena.take(needs);
      arena.copy(old, this.#entry[row], idBytes);
      arena.giveBack(old, had);
    }
    arena.write(this.#entry[row], idBytes, rest, start, end);
    this.restBytes[row] = end - start;
  }

  /** Which of two fixes of a driver is the later: the greater. */
  fix(row: number): number {
    return Math.min(this.ts[row], this.received[row]);
  }

  isUsed(row: number): boolean {
    return this.idBytes[row] > 0;
  }

  id(row: number): string {
    return this.#arena.text(this.#entry[row], 0, this.idBytes[row]);
  }

  /** Copies the id and behind it the members behind `lon`; returns where they end. */
  copyEntry(row: number, target: Uint8Array, at: number): number {
    const bytes = this.idBytes[row] + this.restBytes[row];
    this.#arena.read(this.#entry[row], 0, bytes, target, at);
    return at + bytes;
  }

  /** What is known is of no log any more, or of another. */
  forgetOffsets(): void {
    this.offset.fill(-1);
  }

  /** The ping as JSON without its closing brace: what is known besides may follow. */
  json(row: number): string {
    const rest = this.#arena.text(this.#entry[row], this.idBytes[row], this.restBytes[row]);
    const head = `{"id":${JSON.stringify(this.id(row))},"ts":${this.ts[row]}`;
    return `${head},"lat":${this.lat[row]},"lon":${this.lon[row]}${rest}`;
  }

  remove(row: number): void {
    const id = this.#arena.view(this.#entry[row], 0, this.idBytes[row]);
    this.#close(this.#placeOf(this.#hash[row], id, 0, id.byteLength));
    this.#arena.giveBack(this.#entry[row], this.idBytes[row] + this.restBytes[row]);
    this.idBytes[row] = 0;
    this.restBytes[row] = 0;
    this.flags[row] = 0;
    this.trip[row] = 0;
    this.#free.push(row);
    this.count--;
  }

  #nextRow(): number {
    if (this.rows === this.capacity) this.#grow();
    return this.rows++;
  }

  /** Where the driver is, or would be put. */
  #placeOf(hash: number, id: Uint8Array, start: number, end: number): number {
    const mask = this.#places.length - 1;
    let place = hash & mask;
    for (;;) {
      const row = this.#places[place] - 1;
      if (row < 0) return place;
      if (this.#hash[row] === hash && this.idBytes[row] === end - start) {
        if (this.#arena.isSame(this.#entry[row], id, start, end)) return place;
      }
      place = (place + 1) & mask;
    }
  }

  /** Whoever stood behind a place that falls free moves up, or it would not be found. */
  #close(place: number): void {
    const places = this.#places;
    const mask = places.length - 1;
    let free = place;
    places[free] = 0;
    for (let next = (free + 1) & mask; places[next] !== 0; next = (next + 1) & mask) {
      const home = this.#hash[places[next] - 1] & mask;
      if (((next - home) & mask) < ((next - free) & mask)) continue;
      places[free] = places[next];
      places[next] = 0;
      free = next;
    }
  }

  #grow(): void {
    const capacity = 2 * this.capacity;
    this.lat = grown(this.lat, new Float64Array(capacity));
    this.lon = grown(this.lon, new Float64Array(capacity));
    this.ts = grown(this.ts, new Float64Array(capacity));
    this.received = grown(this.received, new Float64Array(capacity));
    this.offset = grown(this.offset, new Float64Array(capacity));
    this.partition = grown(this.partition, new Uint16Array(capacity));
    this.trip = grown(this.trip, new Int32Array(capacity));
    this.flags = grown(this.flags, new Uint8Array(capacity));
    this.#entry = grown(this.#entry, new Uint32Array(capacity));
    this.idBytes = grown(this.idBytes, new Uint8Array(capacity));
    this.restBytes = grown(this.restBytes, new Uint16Array(capacity));
    this.#hash = grown(this.#hash, new Int32Array(capacity));
    this.#places = new Int32Array(2 * capacity);
    const mask = this.#places.length - 1;
    for (let row = 0; row < this.rows; row++) {
      if (!this.isUsed(row)) continue;
      let place = this.#hash[row] & mask;
      while (this.#places[place] !== 0) place = (place + 1) & mask;
      this.#places[place] = row + 1;
    }
  }
}

function grown<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Its bits mixed once more: places are its lowest bits. */
const hashOf = (seed: number, bytes: Uint8Array, start: number, end: number): number =>
  mixed(fnv1a(bytes, start, end, seed));
