/**
 * Where drivers are: a grid of 435 m on the equator, and in each of its squares a list of rows
 * (row-list.ts).
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
import { NONE, RowLists } from "./row-list.ts";

/** Of a degree, in squares: then the number of a degree and one in it are 16 bits each. */
const SIDE = 256;
const SQUARES = SIDE * SIDE;
const DEGREES_AROUND = 360;
const grid = new DegreeGrid(SIDE);
/** No degree has the last number of 16 bits. */
const NOWHERE = 2 ** 32 - 1;

type Positions = { readonly lat: Float64Array; readonly lon: Float64Array; capacity: number };

export class DriverIndex {
  readonly #positions: Positions;
  /** Degree → square → its list. */
  readonly #degrees = new Map<number, Map<number, number>>();
  readonly #lists = new RowLists();
  /** Row → its place in its list. */
  #place = new Int32Array(0);
  /** Row → its degree and the square in that; `NOWHERE`: not in here. */
  #square = new Uint32Array(0);
  /** How far the last question had to look: most are about the same city. */
  #reach = REACH_MIN_METRES;

  constructor(positions: Positions) {
    this.#positions = positions;
  }

  /** The driver of a row is where its columns say. */
  put(row: number): void {
    if (this.#square.length < this.#positions.capacity) this.#grow(this.#positions.capacity);
    const line = grid.lineOf(this.#positions.lat[row]);
    const column = grid.columnOf(this.#positions.lon[row]);
    const degree = degreeLine(line) * DEGREES_AROUND + degreeLine(column);
    const inDegree = (line % SIDE) * SIDE + (column % SIDE);
    const square = degree * SQUARES + inDegree;
    if (square === this.#square[row]) return;
    this.remove(row);
    let squares = this.#degrees.get(degree);
    if (squares === undefined) this.#degrees.set(degree, (squares = new Map()));
    const list = squares.get(inDegree) ?? NONE;
    const place = this.#lists.add(list, row);
    if (this.#lists.listAt(place) !== list) squares.set(inDegree, this.#lists.listAt(place));
    this.#place[row] = place;
    this.#square[row] = square;
  }

  remove(row: number): void {
    if (row >= this.#square.length || this.#square[row] === NOWHERE) return;
    const inDegree = this.#square[row] % SQUARES;
    const degree = (this.#square[row] - inDegree) / SQUARES;
    const squares = this.#degrees.get(degree) as Map<number, number>;
    const list = squares.get(inDegree) as number;
    const place = this.#place[row];
    const { moved, rest } = this.#lists.remove(list, place);
    this.#place[moved] = place;
    if (rest === NONE) squares.delete(inDegree);
    else if (rest !== list) squares.set(inDegree, rest);
    if (squares.size === 0) this.#degrees.delete(degree);
    this.#square[row] = NOWHERE;
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
    for (let reach = Math.min(radius, this.#reach); ;) {
      if (reach > REACH_MAX_METRES) return this.#far(from, radius, limit, accept);
      const nearest = new Nearest(limit, from, reach);
      const box = boxAround(lat, lon, reach);
      this.#inBox(box, (row) => {
        this.#meet(row, from, nearest, accept);
        return true;
      });
      if (nearest.isFull) this.#reach = clamped(SPARE * nearest.metres);
      if (reach >= radius || nearest.isFull) return nearest.found();
      const likely = Math.sqrt((1.5 * limit) / Math.max(1, nearest.count));
      reach = Math.min(radius, reach * Math.min(2, likely));
    }
  }

  /** Where few are: the parts of the earth with somebody in them, the nearest first. */
  #far(from: Point, radius: number, limit: number, accept: (row: number) => boolean): Near[] {
    const nearest = new Nearest(limit, from, radius);
    const degrees = [...this.#degrees].map(([degree, squares]) => {
      const [south, west] = cornerOf(degree);
      return { least: from.leastTo(south + 0.5, west + 0.5, 1), south, west, squares };
    });
    for (const { least, south, west, squares } of degrees.sort((a, b) => a.least - b.least)) {
      if (least > nearest.metres) break;
      for (const [square, list] of squares) {
        const column = square % SIDE;
        const line = (square - column) / SIDE;
        const size = 1 / SIDE;
        const [lat, lon] = [south + (line + 0.5) * size, west + (column + 0.5) * size];
        if (from.leastTo(lat, lon, size) > nearest.metres) continue;
        this.#lists.visit(list, (row) => {
          this.#meet(row, from, nearest, accept);
          return true;
        });
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
        south: Math.max(south - line, 0),
        north: Math.min(north - line, SIDE - 1),
        west: Math.max(west - column, 0),
        east: Math.min(east - column, SIDE - 1),
      };
      if (part.south > part.north || part.west > part.east) continue;
      if (!this.#inDegree(squares, part, visit)) return;
    }
  }

  #inDegree(squares: Map<number, number>, part: Squares, visit: (row: number) => boolean): boolean {
    const { south, north, west, east } = part;
    // a large box has more squares than there are with somebody in them
    if ((north - south + 1) * (east - west + 1) > squares.size) {
      for (const [square, list] of squares) {
        const column = square % SIDE;
        const line = (square - column) / SIDE;
        if (line < south || line > north || column < west || column > east) continue;
        if (!this.#lists.visit(list, visit)) return false;
      }
      return true;
    }
    for (let line = south; line <= north; line++) {
      for (let column = west; column <= east; column++) {
        const list = squares.get(line * SIDE + column);
        if (list !== undefined && !this.#lists.visit(list, visit)) return false;
      }
    }
    return true;
  }

  #grow(capacity: number): void {
    const place = new Int32Array(capacity);
    place.set(this.#place);
    const square = new Uint32Array(capacity).fill(NOWHERE);
    square.set(this.#square);
    this.#place = place;
    this.#square = square;
  }
}

const REACH_MIN_METRES = 100;
/** What the first look reaches beyond what the last question needed: mostly enough. */
const SPARE = 1.2;
/** What another city left behind may be far too much here: no first look reaches further. */
const FIRST_REACH_MAX_METRES = 1000;
/** Rings beyond would look at ten thousand squares, most of them empty. */
const REACH_MAX_METRES = 16_000;
/** Of one degree. */
type Squares = Box;

const clamped = (metres: number): number =>
  Math.min(FIRST_REACH_MAX_METRES, Math.max(REACH_MIN_METRES, metres));
const degreeLine = (lineOrColumn: number): number => Math.floor(lineOrColumn / SIDE);
const degreesOf = (bottom: number, top: number, left: number, right: number): number[] => {
  const degrees: number[] = [];
  for (let y = bottom; y <= top; y++) {
    for (let x = left; x <= right; x++) degrees.push(y * DEGREES_AROUND + x);
  }
  return degrees;
};
/** Latitude and longitude of a degree's south-west. */
const cornerOf = (degree: number): [south: number, west: number] => {
  const y = Math.floor(degree / DEGREES_AROUND);
  return [y - 90, degree - y * DEGREES_AROUND - 180];
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
