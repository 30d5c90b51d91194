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

const ROWS_LARGEST = 65_536;

/**
 * Cells of one resolution. Rows are picked by a hash of the driver; drivers that share one only
 * push each other out, since what is kept is true whoever asks.
 */
export class CellCache {
  readonly resolution: number;
  readonly #mask: number;
  /** Per row: latitude, longitude, reach in degrees. */
  readonly #circles: Float64Array;
  readonly #cells: Uint8Array[] = [];

  constructor(resolution: number, rows = ROWS_LARGEST) {
    this.resolution = resolution;
    this.#mask = rows - 1;
    this.#circles = new Float64Array(rows * 3);
  }

  /**
   * The cell of a point, lower-case hex in ASCII; not to be changed. `driverHash`: any 32 bits
   * that tell drivers apart, such as the murmur2 of the id.
   */
  cellOf(driverHash: number, lat: number, lon: number): Uint8Array {
    const row = (driverHash ^ (driverHash >>> 16)) & this.#mask;
    const circles = this.#circles;
    const at = row * 3;
    const away = Math.abs(lat - circles[at]) + Math.abs(lon - circles[at + 1]);
    if (away < circles[at + 2]) return this.#cells[row];
    const index = latLngToCell(lat, lon, this.resolution);
    const cell = Buffer.from(index, "latin1");
    circles[at] = lat;
    circles[at + 1] = lon;
    circles[at + 2] = reachDegrees(index, lat, lon);
    this.#cells[row] = cell;
    return cell;
  }
}

/**
 * How far a point may move without leaving its cell. The sides are great circles (H3 is gnomonic
 * on each face), so it is the least distance to one of them.
 */
function reachDegrees(index: string, lat: number, lon: number): number {
  const corners = cellToBoundary(index).map(([cornerLat, cornerLon]) => unit(cornerLat, cornerLon));
  const point = unit(lat, lon);
  let least = Math.PI / 2;
  for (const [i, a] of corners.entries()) {
    const normal = cross(a, corners[(i + 1) % corners.length]);
    const length = Math.hypot(...normal);
    if (length === 0) continue;
    const sine = Math.abs(dot(normal, point)) / length;
    least = Math.min(least, Math.asin(Math.min(1, sine)));
  }
  return Math.max(0, least - MARGIN) / RADIANS;
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

function dot([ax, ay, az]: Vector, [bx, by, bz]: Vector): number {
  return ax * bx + ay * by + az * bz;
}
