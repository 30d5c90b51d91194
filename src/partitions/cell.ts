/**
 * H3 cells, as record keys and otherwise. A cell costs 0.65 us to find and a driver stays in one
 * for a while, so the last one is kept with a circle around the point it was found for: a point
 * inside the circle is in the same cell, and so is one on the inner side of all of its sides.
 */
import { cellToBoundary, latLngToCell } from "./h3.ts";
import { RADIANS } from "../lib/earth.ts";

/**
 * Rounding in H3 and here is below 1e-9 radians (6 mm); and a degree of latitude plus one of
 * longitude is never shorter than the way itself.
 */
const MARGIN = 1e-7;

/** Cells whose sides are kept: a large city has 100 of resolution 6, and 35 000 of 9. */
const CELLS_MAX = 4096;

/** How a cell is written: lower-case hex in ASCII, or a 64-bit integer, the high byte first. */
export type CellForm = "hex" | "int64";

type Cell = {
  key: Uint8Array;
  /** Unit normals of the great circles its sides lie on, three numbers each, pointing inwards. */
  sides: Float64Array;
};

/**
 * Cells of one resolution. Rows are picked by a hash of the driver; drivers that share one only
 * push each other out, since what is kept is true whoever asks.
 */
export class CellCache {
  readonly resolution: number;
  readonly #mask: number;
  /** Per row: latitude, longitude, reach in degrees. */
  readonly #circles: Float64Array;
  readonly #rows: (Cell | undefined)[];
  readonly #form: CellForm;
  readonly #cellsMax: number;
  #cells = new Map<string, Cell>();

  /** `rows`: a power of two, about the drivers to be kept. */
  constructor(
    resolution: number,
    rows = 65_536,
    form: CellForm = "hex",
    cellsMax: number = CELLS_MAX,
  ) {
    this.resolution = resolution;
    this.#form = form;
    this.#cellsMax = cellsMax;
    this.#mask = rows - 1;
    this.#circles = new Float64Array(rows * 3);
    this.#rows = Array.from({ length: rows });
  }

  /**
   * The cell of a point, as its form is; not to be changed. `driverHash`: any 32 bits
   * that tell drivers apart, such as the murmur2 of the id.
   */
  cellOf(driverHash: number, lat: number, lon: number): Uint8Array {
    const row = (driverHash ^ (driverHash >>> 16)) & this.#mask;
    const circles = this.#circles;
    const at = row * 3;
    const away = Math.abs(lat - circles[at]) + Math.abs(lon - circles[at + 1]);
    let cell = this.#rows[row];
    if (cell !== undefined && away < circles[at + 2]) return cell.key;
    // out of the circle is mostly still in the cell, which costs less to see than to find
    let depth = cell === undefined ? 0 : depthIn(cell.sides, lat, lon);
    if (cell === undefined || depth < MARGIN) {
      cell = this.#find(latLngToCell(lat, lon, this.resolution));
      depth = depthIn(cell.sides, lat, lon);
      this.#rows[row] = cell;
    }
    circles[at] = lat;
    circles[at + 1] = lon;
    circles[at + 2] = Math.max(0, depth - MARGIN) / RADIANS;
    return cell.key;
  }

  #find(index: string): Cell {
    let cell = this.#cells.get(index);
    if (cell === undefined) {
      if (this.#cells.size === this.#cellsMax) this.#cells = new Map();
      const key =
        this.#form === "hex"
          ? Buffer.from(index, "latin1")
          : Buffer.from(index.padStart(16, "0"), "hex");
      cell = { key, sides: sidesOf(index) };
      this.#cells.set(index, cell);
    }
    return cell;
  }
}

/**
 * The sides of a cell are arcs of great circles, for H3 is gnomonic on each face: three numbers a
 * side, the normal of its plane towards the middle of the cell.
 */
export function sidesOf(index: string): Float64Array {
  const corners = cellToBoundary(index).map(([lat, lon]) => unit(lat, lon));
  const [mx, my, mz] = corners.reduce(([x, y, z], [a, b, c]) => [x + a, y + b, z + c]);
  const sides: number[] = [];
  for (const [i, a] of corners.entries()) {
    const [x, y, z] = cross(a, corners[(i + 1) % corners.length]);
    const length = Math.sign(x * mx + y * my + z * mz) * Math.hypot(x, y, z);
    if (length !== 0) sides.push(x / length, y / length, z / length);
  }
  return Float64Array.from(sides);
}

/**
 * How far a point may move without crossing a side, in radians and never more than it is: the sine
 * of the least distance to one of their circles. Not above 0: the point may be outside.
 */
export function depthIn(sides: Float64Array, lat: number, lon: number): number {
  const cosLat = Math.cos(lat * RADIANS);
  const x = cosLat * Math.cos(lon * RADIANS);
  const y = cosLat * Math.sin(lon * RADIANS);
  const z = Math.sin(lat * RADIANS);
  let depth = 1;
  for (let i = 0; i < sides.length; i += 3) {
    depth = Math.min(depth, sides[i] * x + sides[i + 1] * y + sides[i + 2] * z);
  }
  return depth;
}

type Vector = [number, number, number];

function unit(lat: number, lon: number): Vector {
  const cosLat = Math.cos(lat * RADIANS);
  return [
    cosLat * Math.cos(lon * RADIANS),
    cosLat * Math.sin(lon * RADIANS),
    Math.sin(lat * RADIANS),
  ];
}

function cross([ax, ay, az]: Vector, [bx, by, bz]: Vector): Vector {
  return [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
}
