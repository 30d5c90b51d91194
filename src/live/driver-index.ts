/**
 * Where drivers are: a grid of a hundredth of a degree, and in each of its squares a list of rows.
 * A driver that stays in its square costs nothing.
 *
 * Why a grid and not H3 cells: finding the square takes 10 ns and finding a cell 650; a cell's
 * children do not lie within it, so whoever asks for a cell has to look at each driver anyway.
 */
import type { Area, Box } from "./area.ts";

const SQUARES_PER_DEGREE = 100;
const COLUMNS = 360 * SQUARES_PER_DEGREE;
const LINES = 180 * SQUARES_PER_DEGREE;
const NONE = -1;
const METRES_PER_DEGREE = 111_195.08;
const EARTH_RADIUS_METRES = 6_371_008.8;
const RADIANS = Math.PI / 180;

type Positions = { readonly lat: Float64Array; readonly lon: Float64Array; capacity: number };

export class DriverIndex {
  readonly #positions: Positions;
  /** Square → first row of its list. */
  readonly #first = new Map<number, number>();
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  /** Row → its square; `NONE`: not in here. */
  #square = new Int32Array(0);

  constructor(positions: Positions) {
    this.#positions = positions;
  }

  /** The driver of a row is where its columns say. */
  put(row: number): void {
    if (this.#square.length < this.#positions.capacity) this.#grow(this.#positions.capacity);
    const square = squareOf(this.#positions.lat[row], this.#positions.lon[row]);
    if (square === this.#square[row]) return;
    this.remove(row);
    const first = this.#first.get(square);
    this.#next[row] = first ?? NONE;
    this.#previous[row] = NONE;
    if (first !== undefined) this.#previous[first] = row;
    this.#first.set(square, row);
    this.#square[row] = square;
  }

  remove(row: number): void {
    if (row >= this.#square.length || this.#square[row] === NONE) return;
    const next = this.#next[row];
    const previous = this.#previous[row];
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else if (next !== NONE) this.#first.set(this.#square[row], next);
    else this.#first.delete(this.#square[row]);
    this.#square[row] = NONE;
  }

  /** Rows within an area, in no order; ends early when `visit` returns false. */
  within(area: Area, visit: (row: number) => boolean | void): void {
    const { lat, lon } = this.#positions;
    this.#inBox(area.box, (row) => !area.contains(lat[row], lon[row]) || visit(row) !== false);
  }

  /**
   * The nearest rows that `accept` takes, at most `limit` within `radius` metres, nearest first,
   * with their distances.
   */
  near(
    lat: number,
    lon: number,
    radius: number,
    limit: number,
    accept: (row: number) => boolean,
  ): { row: number; metres: number }[] {
    if (limit === 0) return [];
    const { lat: lats, lon: lons } = this.#positions;
    // looks around in rings, as it were: each box has four times the one before
    for (let reach = Math.min(radius, REACH_MIN_METRES); ; reach = Math.min(radius, reach * 2)) {
      const nearest = new Nearest(limit);
      this.#inBox(boxAround(lat, lon, reach), (row) => {
        const metres = metresBetween(lat, lon, lats[row], lons[row]);
        if (metres <= reach && nearest.wants(metres) && accept(row)) nearest.add(row, metres);
        return true;
      });
      if (reach >= radius || nearest.isFull) return nearest.list;
    }
  }

  /** All rows of the squares that a box touches. */
  #inBox(box: Box, visit: (row: number) => boolean): void {
    if (box.west > box.east && columnOf(box.west) <= columnOf(box.east)) {
      // all around, but for less than a square
      this.#inBox({ ...box, west: -180, east: 180 }, visit);
      return;
    }
    if (box.west > box.east) {
      let goesOn = true;
      const halves = [
        { ...box, east: 180 },
        { ...box, west: -180 },
      ];
      for (const half of halves) {
        if (goesOn) this.#inBox(half, (row) => (goesOn = visit(row)));
      }
      return;
    }
    const [south, north] = [lineOf(box.south), lineOf(box.north)];
    const [west, east] = [columnOf(box.west), columnOf(box.east)];
    // a large box has more squares than there are with somebody in them
    if ((north - south + 1) * (east - west + 1) > this.#first.size) {
      for (const [square, first] of this.#first) {
        const column = square % COLUMNS;
        const line = (square - column) / COLUMNS;
        if (line < south || line > north || column < west || column > east) continue;
        if (!this.#visit(first, visit)) return;
      }
      return;
    }
    for (let line = south; line <= north; line++) {
      for (let column = west; column <= east; column++) {
        const first = this.#first.get(line * COLUMNS + column);
        if (first !== undefined && !this.#visit(first, visit)) return;
      }
    }
  }

  #visit(first: number, visit: (row: number) => boolean): boolean {
    for (let row = first; row !== NONE; row = this.#next[row]) if (!visit(row)) return false;
    return true;
  }

  #grow(capacity: number): void {
    const old = [this.#next, this.#previous, this.#square];
    const [next, previous, square] = old.map((column) => {
      const grown = new Int32Array(capacity).fill(NONE);
      grown.set(column);
      return grown;
    });
    this.#next = next;
    this.#previous = previous;
    this.#square = square;
  }
}

const REACH_MIN_METRES = 250;

/** The nearest of those it is shown, in order: few, so each is put in its place. */
class Nearest {
  readonly list: { row: number; metres: number }[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.list.length === this.#limit;
  }

  wants(metres: number): boolean {
    return !this.isFull || metres < this.list[this.#limit - 1].metres;
  }

  add(row: number, metres: number): void {
    const { list } = this;
    if (this.isFull) list.pop();
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle].metres <= metres) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, { row, metres });
  }
}

const lineOf = (lat: number): number =>
  Math.min(LINES - 1, Math.floor((lat + 90) * SQUARES_PER_DEGREE));
const columnOf = (lon: number): number =>
  Math.min(COLUMNS - 1, Math.floor((lon + 180) * SQUARES_PER_DEGREE));
const squareOf = (lat: number, lon: number): number => lineOf(lat) * COLUMNS + columnOf(lon);

/** Holds the circle; all longitudes where that reaches a pole. */
function boxAround(lat: number, lon: number, metres: number): Box {
  const height = metres / METRES_PER_DEGREE;
  const south = Math.max(-90, lat - height);
  const north = Math.min(90, lat + height);
  const whole = { west: -180, south, east: 180, north };
  if (south === -90 || north === 90) return whole;
  // the circle is widest a little nearer to the pole than its centre
  const sine = Math.sin(Math.min(Math.PI / 2, metres / EARTH_RADIUS_METRES));
  const width = Math.asin(Math.min(1, sine / Math.cos(lat * RADIANS))) / RADIANS;
  if (!(width < 179)) return whole;
  const west = lon - width < -180 ? lon - width + 360 : lon - width;
  const east = lon + width > 180 ? lon + width - 360 : lon + width;
  return { west, south, east, north };
}

/** Haversine, on a sphere of the earth's mean radius. */
function metresBetween(latA: number, lonA: number, latB: number, lonB: number): number {
  const sinLat = Math.sin(((latB - latA) * RADIANS) / 2);
  const sinLon = Math.sin(((lonB - lonA) * RADIANS) / 2);
  const h = sinLat * sinLat + Math.cos(latA * RADIANS) * Math.cos(latB * RADIANS) * sinLon * sinLon;
  return 2 * EARTH_RADIUS_METRES * Math.asin(Math.min(1, Math.sqrt(h)));
}
