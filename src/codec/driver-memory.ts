/**
 * The last fix of each driver seen on one connection, for the flag `jump`. Nearly every connection
 * carries one driver, which is kept inline; a gateway's many go to a table that is made for the
 * second one. Drivers are told apart by 64 bits of hash, so that no key is copied or made a string.
 */
const METRES_PER_DEGREE = 111_195.08;
const EARTH_RADIUS_METRES = 6_371_008.8;
const METRES_PER_SECOND_MAX = 300 / 3.6;
const RADIANS = Math.PI / 180;

const ROWS_MIN = 16;
/** 64 KiB for a connection that carries a whole fleet; drivers beyond take each other's place. */
const ROWS_MAX = 2048;
/** A driver lies in one of so many rows after its own. */
const PROBES = 4;

type Table = { hashes: Int32Array; fixes: Float64Array; rows: number; used: number };

const INLINE = -1;
/** Time of a driver that has no fix yet: nothing is a jump from it. A free row has NaN. */
const NEVER = Infinity;

export class DriverMemory {
  #identity: Uint8Array | null = null;
  #known = false;
  #hashA = 0;
  #hashB = 0;
  #ts = 0.5;
  #lat = 0.5;
  #lon = 0.5;
  #table: Table | null = null;
  /** Where the driver of the last `jump()` lies: a row of the table, or INLINE. */
  #row = INLINE;

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
    if (identity !== null && identity === this.#identity) {
      this.#row = INLINE;
      return isJump(this.#ts, this.#lat, this.#lon, ts, lat, lon);
    }
    let a = 0x811c9dc5 | 0;
    let b = keyEnd - keyStart;
    for (let i = keyStart; i < keyEnd; i++) {
      a = Math.imul(a ^ key[i], 0x01000193);
      b = Math.imul(b + key[i], 0x2c1b3c6d) ^ (b >>> 15);
    }
    if (!this.#known) {
      this.#known = true;
      this.#identity = identity;
      this.#hashA = a;
      this.#hashB = b;
      this.#ts = NEVER;
      this.#row = INLINE;
      return false;
    }
    if (a === this.#hashA && b === this.#hashB) {
      this.#row = INLINE;
      return isJump(this.#ts, this.#lat, this.#lon, ts, lat, lon);
    }
    return this.#jumpInTable(a, b, ts, lat, lon);
  }

  /** Keeps the fix just asked about. Must follow `jump()` once the ping is accepted. */
  keep(ts: number, lat: number, lon: number): void {
    if (this.#row === INLINE) {
      this.#ts = ts;
      this.#lat = lat;
      this.#lon = lon;
      return;
    }
    const { fixes } = this.#table!;
    const at = this.#row * 3;
    fixes[at] = ts;
    fixes[at + 1] = lat;
    fixes[at + 2] = lon;
  }

  #jumpInTable(a: number, b: number, ts: number, lat: number, lon: number): boolean {
    let table = (this.#table ??= newTable(ROWS_MIN));
    if (table.used * 2 > table.rows && table.rows < ROWS_MAX) {
      table = this.#table = grown(table);
    }
    const row = rowOf(table, a, b);
    this.#row = row;
    const { hashes, fixes } = table;
    if (hashes[row * 2] === a && hashes[row * 2 + 1] === b) {
      const at = row * 3;
      return isJump(fixes[at], fixes[at + 1], fixes[at + 2], ts, lat, lon);
    }
    if (Number.isNaN(fixes[row * 3])) table.used++;
    hashes[row * 2] = a;
    hashes[row * 2 + 1] = b;
    fixes[row * 3] = NEVER;
    return false;
  }
}

function newTable(rows: number): Table {
  const fixes = new Float64Array(rows * 3).fill(Number.NaN);
  return { hashes: new Int32Array(rows * 2), fixes, rows, used: 0 };
}

function grown(old: Table): Table {
  const table = newTable(old.rows * 2);
  for (let row = 0; row < old.rows; row++) {
    if (Number.isNaN(old.fixes[row * 3])) continue;
    const to = rowOf(table, old.hashes[row * 2], old.hashes[row * 2 + 1]);
    if (Number.isNaN(table.fixes[to * 3])) table.used++;
    table.hashes[to * 2] = old.hashes[row * 2];
    table.hashes[to * 2 + 1] = old.hashes[row * 2 + 1];
    for (let i = 0; i < 3; i++) table.fixes[to * 3 + i] = old.fixes[row * 3 + i];
  }
  return table;
}

/** The driver's row, else a free one, else its first, whose driver is forgotten. */
function rowOf(table: Table, a: number, b: number): number {
  const { hashes, fixes, rows } = table;
  const first = (a ^ (a >>> 16)) & (rows - 1);
  let free = -1;
  for (let i = 0; i < PROBES; i++) {
    const row = (first + i) & (rows - 1);
    if (Number.isNaN(fixes[row * 3])) {
      if (free < 0) free = row;
    } else if (hashes[row * 2] === a && hashes[row * 2 + 1] === b) {
      return row;
    }
  }
  return free < 0 ? first : free;
}

function isJump(
  fromTs: number,
  fromLat: number,
  fromLon: number,
  ts: number,
  lat: number,
  lon: number,
): boolean {
  const reach = Math.max(Math.abs(ts - fromTs) / 1000, 1) * METRES_PER_SECOND_MAX;
  // The way along the parallel and the meridian is never shorter: most pings end here.
  const around = (Math.abs(lat - fromLat) + Math.abs(lon - fromLon)) * METRES_PER_DEGREE;
  return around > reach && metresBetween(fromLat, fromLon, lat, lon) > reach;
}

/** Haversine, on a sphere of the earth's mean radius. */
export function metresBetween(latA: number, lonA: number, latB: number, lonB: number): number {
  const sinLat = Math.sin(((latB - latA) * RADIANS) / 2);
  const sinLon = Math.sin(((lonB - lonA) * RADIANS) / 2);
  const h = sinLat * sinLat + Math.cos(latA * RADIANS) * Math.cos(latB * RADIANS) * sinLon * sinLon;
  return 2 * EARTH_RADIUS_METRES * Math.asin(Math.min(1, Math.sqrt(h)));
}
