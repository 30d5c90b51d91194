/**
 * Where drivers are: a grid of 600 m on the equator, and in each of its squares a list of rows.
 * Squares with somebody in them are kept by the degree they lie in, so that empty parts of the
 * earth cost nothing either. A driver that stays in its square costs nothing.
 *
 * Why a grid and not H3 cells: finding the square takes 10 ns and finding a cell 650; a cell's
 * children do not lie within it, so whoever asks for a cell has to look at each driver anyway.
 */
import type { Area, Box } from "./area.ts";
import { EARTH_RADIUS_METRES, METRES_PER_DEGREE, RADIANS } from "../lib/earth.ts";
import { DegreeGrid } from "./degree-grid.ts";
import { type Near, Nearest, Point } from "./nearest.ts";

/** Of a degree, in squares: the most for which all are numbered below 2^31. */
const SIDE = 180;
const DEGREES_AROUND = 360;
const grid = new DegreeGrid(SIDE);
const NONE = -1;

type Positions = { readonly lat: Float64Array; readonly lon: Float64Array; capacity: number };

export class DriverIndex {
  readonly #positions: Positions;
  /** Degree → square → first row of its list. */
  readonly #degrees = new Map<number, Map<number, number>>();
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
    const square = grid.squareOf(this.#positions.lat[row], this.#positions.lon[row]);
    if (square === this.#square[row]) return;
    this.remove(row);
    const degree = degreeOf(square);
    let squares = this.#degrees.get(degree);
    if (squares === undefined) this.#degrees.set(degree, (squares = new Map()));
    const first = squares.get(square);
    this.#next[row] = first ?? NONE;
    this.#previous[row] = NONE;
    if (first !== undefined) this.#previous[first] = row;
    squares.set(square, row);
    this.#square[row] = square;
  }

  remove(row: number): void {
    if (row >= this.#square.length || this.#square[row] === NONE) return;
    const next = this.#next[row];
    const previous = this.#previous[row];
    if (next !== NONE) this.#previous[next] = previous;
    if (previous !== NONE) this.#next[previous] = next;
    else this.#setFirst(this.#square[row], next);
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
  ): Near[] {
    if (limit === 0) return [];
    const from = new Point(lat, lon);
    // looks around in rings, as it were: each as wide as it takes by what was found in the last
    for (let reach = Math.min(radius, REACH_MIN_METRES); ;) {
      if (reach > REACH_MAX_METRES) return this.#far(from, radius, limit, accept);
      const nearest = new Nearest(limit, from, reach);
      const box = boxAround(lat, lon, reach);
      this.#inBox(box, (row) => {
        this.#meet(row, from, nearest, accept);
        return true;
      });
      if (reach >= radius || nearest.isFull) return nearest.found();
      const likely = Math.sqrt((1.5 * limit) / Math.max(1, nearest.count));
      reach = Math.min(radius, reach * Math.min(2, likely));
    }
  }

  /** Where few are: the parts of the earth with somebody in them, the nearest first. */
  #far(from: Point, radius: number, limit: number, accept: (row: number) => boolean): Near[] {
    const nearest = new Nearest(limit, from, radius);
    const degrees = [...this.#degrees].map(([degree, squares]) => {
      return { least: from.leastTo(...middleOf(degree), 1), squares };
    });
    for (const { least, squares } of degrees.sort((a, b) => a.least - b.least)) {
      if (least > nearest.metres) break;
      for (const [square, first] of squares) {
        const line = Math.floor(square / grid.columns);
        const size = 1 / SIDE;
        const [lat, lon] = [(line + 0.5) * size - 90, ((square % grid.columns) + 0.5) * size - 180];
        if (from.leastTo(lat, lon, size) > nearest.metres) continue;
        for (let row = first; row !== NONE; row = this.#next[row]) {
          this.#meet(row, from, nearest, accept);
        }
      }
    }
    return nearest.found();
  }

  #meet(row: number, from: Point, nearest: Nearest, accept: (row: number) => boolean): void {
    const lat = this.#positions.lat[row];
    if (Math.abs(lat - from.lat) > nearest.latitudes) return;
    const lon = this.#positions.lon[row];
    const apart = Math.abs(lon - from.lon);
    if (Math.min(apart, 360 - apart) > nearest.longitudes) return;
    const haversine = from.haversineTo(lat, lon);
    if (nearest.wants(haversine) && accept(row)) nearest.add(row, haversine);
  }

  /** All rows of the squares that a box touches. */
  #inBox(box: Box, visit: (row: number) => boolean): void {
    if (box.west > box.east && grid.columnOf(box.west) <= grid.columnOf(box.east)) {
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
    const [south, north] = [grid.lineOf(box.south), grid.lineOf(box.north)];
    const [west, east] = [grid.columnOf(box.west), grid.columnOf(box.east)];
    const [top, bottom] = [degreeLine(north), degreeLine(south)];
    const [left, right] = [degreeLine(west), degreeLine(east)];
    const isSmall = (top - bottom + 1) * (right - left + 1) <= this.#degrees.size;
    const degrees = isSmall ? degreesOf(bottom, top, left, right) : this.#degrees.keys();
    for (const degree of degrees) {
      const squares = this.#degrees.get(degree);
      if (squares === undefined) continue;
      const x = degree % DEGREES_AROUND;
      const [line, column] = [((degree - x) / DEGREES_AROUND) * SIDE, x * SIDE];
      const part: Squares = {
        south: Math.max(south, line),
        north: Math.min(north, line + SIDE - 1),
        west: Math.max(west, column),
        east: Math.min(east, column + SIDE - 1),
      };
      if (part.south > part.north || part.west > part.east) continue;
      if (!this.#inDegree(squares, part, visit)) return;
    }
  }

  #inDegree(squares: Map<number, number>, part: Squares, visit: (row: number) => boolean): boolean {
    const { south, north, west, east } = part;
    // a large box has more squares than there are with somebody in them
    if ((north - south + 1) * (east - west + 1) > squares.size) {
      for (const [square, first] of squares) {
        const column = square % grid.columns;
        const line = (square - column) / grid.columns;
        if (line < south || line > north || column < west || column > east) continue;
        if (!this.#visit(first, visit)) return false;
      }
      return true;
    }
    for (let line = south; line <= north; line++) {
      for (let column = west; column <= east; column++) {
        const first = squares.get(line * grid.columns + column);
        if (first !== undefined && !this.#visit(first, visit)) return false;
      }
    }
    return true;
  }

  #visit(first: number, visit: (row: number) => boolean): boolean {
    for (let row = first; row !== NONE; row = this.#next[row]) if (!visit(row)) return false;
    return true;
  }

  #setFirst(square: number, row: number): void {
    const degree = degreeOf(square);
    const squares = this.#degrees.get(degree) as Map<number, number>;
    if (row !== NONE) squares.set(square, row);
    else squares.delete(square);
    if (squares.size === 0) this.#degrees.delete(degree);
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
/** Rings beyond would look at ten thousand squares, most of them empty. */
const REACH_MAX_METRES = 16_000;
type Squares = Box;

const degreeOf = (square: number): number => {
  const line = Math.floor(square / grid.columns);
  const column = square - line * grid.columns;
  const y = Math.floor(line / SIDE);
  return y * DEGREES_AROUND + Math.floor(column / SIDE);
};
const degreeLine = (lineOrColumn: number): number => Math.floor(lineOrColumn / SIDE);
const degreesOf = (bottom: number, top: number, left: number, right: number): number[] => {
  const degrees: number[] = [];
  for (let y = bottom; y <= top; y++) {
    for (let x = left; x <= right; x++) degrees.push(y * DEGREES_AROUND + x);
  }
  return degrees;
};
/** Latitude and longitude of a degree's middle. */
const middleOf = (degree: number): [number, number] => {
  const y = Math.floor(degree / DEGREES_AROUND);
  return [y - 89.5, degree - y * DEGREES_AROUND - 179.5];
};

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
