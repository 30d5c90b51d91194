/**
 * How many drivers are where, for maps of areas with more of them than are sent one by one.
 *
 *     {"squareDegrees":0.02,"squares":[[77.59,12.97,214],…]}     middle of each, and how many
 */
import { type Box, isInBox } from "../live/area.ts";
import { DegreeGrid } from "../live/degree-grid.ts";
import { STALE } from "../live/drivers.ts";
import type { Live } from "../live/live.ts";
import { limits } from "../model/limits.ts";
import { refuseUnknown } from "./parameters.ts";
import { boxOf } from "./rest.ts";
import { BadRequest, type RiderRequest } from "./rider-request.ts";

const grid = new DegreeGrid(100);
/** Counting takes 50 ns a driver: at most so large a part of the thread's time. */
const PART_OF_TIME = 0.02;
const AGE_MS_MIN = 2000;

export class Density {
  readonly #live: Live;
  /** Square → drivers in it, as counted last. */
  #counts = new Map<number, number>();
  #validUntilMs = 0;

  constructor(live: Live) {
    this.#live = live;
  }

  /** `GET /v1/density?bbox=w,s,e,n` */
  send({ exchange, params }: RiderRequest): void {
    refuseUnknown(params, ["bbox"]);
    const bbox = params.get("bbox");
    if (bbox === undefined) throw new BadRequest("bad_parameter", "bbox must be given");
    const { box } = boxOf(bbox);
    let squares: [number, number, number][];
    let size = 1;
    // larger squares, until there are not too many
    while ((squares = this.#squares(box, size)).length > limits.densitySquaresMax) size *= 2;
    exchange.reply(200, JSON.stringify({ squareDegrees: size / grid.perDegree, squares }), json);
  }

  #squares(box: Box, size: number): [number, number, number][] {
    const sums = new Map<number, number>();
    for (const [square, count] of this.#counted()) {
      const column = square % grid.columns;
      const line = (square - column) / grid.columns;
      if (!isInBox(box, middle(line, 1) - 90, middle(column, 1) - 180)) continue;
      const larger = Math.floor(line / size) * grid.columns + Math.floor(column / size);
      sums.set(larger, (sums.get(larger) ?? 0) + count);
      // larger squares will be asked for
      if (sums.size > limits.densitySquaresMax) break;
    }
    return [...sums].map(([square, count]) => {
      const column = square % grid.columns;
      const line = (square - column) / grid.columns;
      return [rounded(middle(column, size) - 180), rounded(middle(line, size) - 90), count];
    });
  }

  #counted(): Map<number, number> {
    const beganMs = performance.now();
    if (beganMs < this.#validUntilMs) return this.#counts;
    const { lat, lon, flags, rows } = this.#live.drivers;
    const counts = new Map<number, number>();
    for (let row = 0; row < rows; row++) {
      if (!this.#live.drivers.isUsed(row) || (flags[row] & STALE) !== 0) continue;
      const square = grid.squareOf(lat[row], lon[row]);
      counts.set(square, (counts.get(square) ?? 0) + 1);
    }
    const tookMs = performance.now() - beganMs;
    this.#validUntilMs = beganMs + Math.max(AGE_MS_MIN, tookMs / PART_OF_TIME);
    return (this.#counts = counts);
  }
}

const json = [["Content-Type", "application/json"]] as const;

/** Degrees from the edge of the grid. */
const middle = (index: number, size: number): number => ((index + 0.5) * size) / grid.perDegree;
const rounded = (degrees: number): number => Math.round(degrees * 1000) / 1000;
