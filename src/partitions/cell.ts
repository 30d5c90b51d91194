/**
 * H3 cells as record keys. A cell costs 0.65 us to find and a driver stays in one for minutes, so
 * the last one is kept with a circle around the point it was found for: a point inside the circle
 * is in the same cell.
 */
import { cellToBoundary, latLngToCell } from "h3-js";

const RADIANS = Math.PI / 180;
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
  /** Unit normals of the great circles its sides lie on. */
  sides: Vector[];
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
  readonly #keys: Uint8Array[] = [];
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
    if (away < circles[at + 2]) return this.#keys[row];
    const cell = this.#find(latLngToCell(lat, lon, this.resolution));
    circles[at] = lat;
    circles[at + 1] = lon;
    circles[at + 2] = reachDegrees(cell.sides, lat, lon);
    this.#keys[row] = cell.key;
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

/** The sides of a cell are arcs of great circles: H3 is gnomonic on each face. */
function sidesOf(index: string): Vector[] {
  const corners = cellToBoundary(index).map(([lat, lon]) => unit(lat, lon));
  const sides: Vector[] = [];
  for (const [i, a] of corners.entries()) {
    const [x, y, z] = cross(a, corners[(i + 1) % corners.length]);
    const length = Math.hypot(x, y, z);
    if (length > 0) sides.push([x / length, y / length, z / length]);
  }
  return sides;
}

/** How far a point may move without crossing a side: the least distance to one of their circles. */
function reachDegrees(sides: Vector[], lat: number, lon: number): number {
  const [x, y, z] = unit(lat, lon);
  let sine = 1;
  for (const [nx, ny, nz] of sides) sine = Math.min(sine, Math.abs(nx * x + ny * y + nz * z));
  return Math.max(0, Math.asin(sine) - MARGIN) / RADIANS;
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
