/**
 * Which watched areas a point may lie in: a grid of a twentieth of a degree, and in each square the
 * areas that touch it. An area that touches very many is asked about every point.
 */
import { limits } from "../model/limits.ts";
import type { Area, Box } from "./area.ts";
import { DegreeGrid } from "./degree-grid.ts";

const grid = new DegreeGrid(20);
/** A box of three degrees by three: a state. */
const SQUARES_MAX = 4096;

type Watched = { readonly area: Area };

export class AreaGrid<T extends Watched> {
  readonly #squares = new Map<number, T[]>();
  readonly wide = new Set<T>();
  size = 0;
  /** In the lists of all squares. */
  #entries = 0;

  /** False: there is no room for it. */
  add(watched: T): boolean {
    const squares = squaresOf(watched.area.box);
    if (squares === null) {
      if (this.wide.size >= limits.wideAreasMax) return false;
      this.wide.add(watched);
      this.size++;
      return true;
    }
    if (this.#entries + squares.length > limits.areaSquaresMax) return false;
    this.#entries += squares.length;
    this.size++;
    for (const square of squares) {
      const there = this.#squares.get(square);
      if (there === undefined) this.#squares.set(square, [watched]);
      else there.push(watched);
    }
    return true;
  }

  remove(watched: T): void {
    this.size--;
    if (this.wide.delete(watched)) return;
    const squares = squaresOf(watched.area.box) ?? [];
    this.#entries -= squares.length;
    for (const square of squares) {
      const there = this.#squares.get(square) as T[];
      const last = there.pop() as T;
      if (last !== watched) there[there.indexOf(watched)] = last;
      if (there.length === 0) this.#squares.delete(square);
    }
  }

  /** The areas that touch the square of a point, but for the wide ones. */
  at(lat: number, lon: number): readonly T[] {
    return this.#squares.get(grid.squareOf(lat, lon)) ?? none;
  }
}

const none: readonly never[] = [];

/** Null: too many. */
function squaresOf({ west, south, east, north }: Box): number[] | null {
  const [first, last] = [grid.lineOf(south), grid.lineOf(north)];
  const [left, right] = [grid.columnOf(west), grid.columnOf(east)];
  const width = west <= east ? right - left + 1 : grid.columns - left + right + 1;
  if ((last - first + 1) * width > SQUARES_MAX) return null;
  const squares: number[] = [];
  for (let line = first; line <= last; line++) {
    for (let i = 0; i < width; i++) squares.push(line * grid.columns + ((left + i) % grid.columns));
  }
  return squares;
}
