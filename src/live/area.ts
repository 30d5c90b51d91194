/** Parts of the earth's surface that riders watch or ask about. */
import {
  cellToBoundary,
  getIcosahedronFaces,
  getResolution,
  isValidCell,
  latLngToCell,
} from "h3-js";

/** Degrees; `west` may be greater than `east`: then it lies across the antimeridian. */
export type Box = { west: number; south: number; east: number; north: number };

export interface Area {
  /** Holds all of it. */
  readonly box: Box;
  contains(lat: number, lon: number): boolean;
}

export class BoxArea implements Area {
  readonly box: Box;

  constructor(box: Box) {
    this.box = box;
  }

  contains(lat: number, lon: number): boolean {
    return isInBox(this.box, lat, lon);
  }
}

export function isInBox({ west, south, east, north }: Box, lat: number, lon: number): boolean {
  if (lat < south || lat > north) return false;
  return west <= east ? lon >= west && lon <= east : lon >= west || lon <= east;
}

const RADIANS = Math.PI / 180;
/** Rounding in H3 and here is below it; within it H3 itself decides. */
const MARGIN = 1e-9;
/** A side is an arc, and bends away from the box of its corners: by less than so much of it. */
const BULGE = 0.1;

/**
 * An H3 cell: the side of each of its great circles on which a point lies, and H3 itself where
 * that is too close. 20 ns a point, against 650 ns for finding its cell. The sides of a cell that
 * lies on two faces of H3's icosahedron may bend inwards: there H3 is always asked.
 */
export class CellArea implements Area {
  readonly box: Box;
  readonly #cell: string;
  readonly #resolution: number;
  /** Three numbers a side: the normal of its plane, towards the inside. */
  readonly #normals: Float64Array;

  /** `cell`: valid, in lower case. */
  constructor(cell: string) {
    this.#cell = cell;
    this.#resolution = getResolution(cell);
    const corners = cellToBoundary(cell);
    this.box = boxAround(corners);
    const units = corners.map(([lat, lon]) => unit(lat, lon));
    const inside = sum(units);
    const normals: number[] = [];
    for (const [i, a] of units.entries()) {
      const [x, y, z] = cross(a, units[(i + 1) % units.length]);
      const length = Math.hypot(x, y, z);
      if (length === 0) continue;
      const sign = dot(x, y, z, inside) < 0 ? -length : length;
      normals.push(x / sign, y / sign, z / sign);
    }
    const isConvex = getIcosahedronFaces(cell).length === 1;
    this.#normals = Float64Array.from(isConvex ? normals : []);
  }

  contains(lat: number, lon: number): boolean {
    if (!isInBox(this.box, lat, lon)) return false;
    const cosLat = Math.cos(lat * RADIANS);
    const x = cosLat * Math.cos(lon * RADIANS);
    const y = cosLat * Math.sin(lon * RADIANS);
    const z = Math.sin(lat * RADIANS);
    const n = this.#normals;
    let least = Infinity;
    for (let i = 0; i < n.length; i += 3) {
      const height = n[i] * x + n[i + 1] * y + n[i + 2] * z;
      if (height < least) least = height;
    }
    if (n.length > 0 && least > MARGIN) return true;
    if (least < -MARGIN) return false;
    return latLngToCell(lat, lon, this.#resolution) === this.#cell;
  }
}

export { isValidCell, getResolution };

/** The corners' box with room for the arcs between them; whole circles where a pole may be in. */
function boxAround(corners: [number, number][]): Box {
  const lats = corners.map(([lat]) => lat);
  let lons = corners.map(([, lon]) => lon);
  const acrossAntimeridian = Math.max(...lons) - Math.min(...lons) > 180;
  if (acrossAntimeridian) lons = lons.map((lon) => (lon < 0 ? lon + 360 : lon));
  const height = Math.max(...lats) - Math.min(...lats);
  const width = Math.max(...lons) - Math.min(...lons);
  const south = Math.max(-90, Math.min(...lats) - height * BULGE);
  const north = Math.min(90, Math.max(...lats) + height * BULGE);
  // near a pole a cell is as wide as you like
  if (width > 90 || north > 85 || south < -85) {
    return {
      west: -180,
      south: south < -85 ? -90 : south,
      east: 180,
      north: north > 85 ? 90 : north,
    };
  }
  const west = Math.min(...lons) - width * BULGE;
  const east = Math.max(...lons) + width * BULGE;
  return { west: wrapped(west), south, east: wrapped(east), north };
}

const wrapped = (lon: number): number => (lon > 180 ? lon - 360 : lon < -180 ? lon + 360 : lon);

type Vector = [number, number, number];

function unit(lat: number, lon: number): Vector {
  const cosLat = Math.cos(lat * RADIANS);
  return [
    cosLat * Math.cos(lon * RADIANS),
    cosLat * Math.sin(lon * RADIANS),
    Math.sin(lat * RADIANS),
  ];
}

function sum(vectors: Vector[]): Vector {
  const total: Vector = [0, 0, 0];
  for (const v of vectors) for (let i = 0; i < 3; i++) total[i] += v[i];
  return total;
}

const dot = (x: number, y: number, z: number, [a, b, c]: Vector): number => x * a + y * b + z * c;

function cross([ax, ay, az]: Vector, [bx, by, bz]: Vector): Vector {
  return [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx];
}
