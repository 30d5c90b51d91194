/** Parts of the earth's surface that riders watch or ask about. */
import {
  cellToBoundary,
  getIcosahedronFaces,
  getResolution,
  isValidCell,
  latLngToCell,
} from "../partitions/h3.ts";
import { depthIn, sidesOf } from "../partitions/cell.ts";

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
  /** Null: they do not tell. */
  readonly #sides: Float64Array | null;

  /** `cell`: valid, in lower case. */
  constructor(cell: string) {
    this.#cell = cell;
    this.#resolution = getResolution(cell);
    this.box = boxAround(cellToBoundary(cell));
    const isConvex = getIcosahedronFaces(cell).length === 1;
    this.#sides = isConvex ? sidesOf(cell) : null;
  }

  contains(lat: number, lon: number): boolean {
    if (!isInBox(this.box, lat, lon)) return false;
    const depth = this.#sides === null ? 0 : depthIn(this.#sides, lat, lon);
    if (depth > MARGIN) return true;
    if (depth < -MARGIN) return false;
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
