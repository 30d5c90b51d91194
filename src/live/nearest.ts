/** How far things are from a point, and the nearest of many. */
import { EARTH_RADIUS_METRES, METRES_PER_DEGREE, metresOf, RADIANS } from "../lib/earth.ts";

/** Half of a diagonal of a square on the equator, as part of its side, and some. */
const HALF_DIAGONAL = 0.75;

export type Near = { row: number; metres: number };

export class Point {
  readonly lat: number;
  readonly lon: number;
  readonly #cosLat: number;

  constructor(lat: number, lon: number) {
    this.lat = lat;
    this.lon = lon;
    this.#cosLat = Math.cos(lat * RADIANS);
  }

  /** Of the angle between the two: 0 for the same place, 1 for the antipodes. */
  haversineTo(lat: number, lon: number): number {
    const sinLat = Math.sin(((lat - this.lat) * RADIANS) / 2);
    const sinLon = Math.sin(((lon - this.lon) * RADIANS) / 2);
    return sinLat * sinLat + this.#cosLat * Math.cos(lat * RADIANS) * sinLon * sinLon;
  }

  /** No point of a square of so many degrees around that middle is nearer, in metres. */
  leastTo(lat: number, lon: number, degrees: number): number {
    return metresOf(this.haversineTo(lat, lon)) - degrees * METRES_PER_DEGREE * HALF_DIAGONAL;
  }
}

/** The nearest of those it is shown, in order: few, so each is put in its place. */
export class Nearest {
  /** Nothing farther is wanted: metres, degrees of latitude and of longitude. */
  metres = 0;
  latitudes = 0;
  longitudes = 0;
  #haversine = 0;
  readonly #list: { row: number; haversine: number }[] = [];
  readonly #limit: number;
  readonly #from: Point;

  constructor(limit: number, from: Point, radius: number) {
    this.#limit = limit;
    this.#from = from;
    const angle = Math.min(Math.PI, radius / EARTH_RADIUS_METRES);
    this.#reach(angle === Math.PI ? 1 : Math.sin(angle / 2) ** 2);
  }

  get count(): number {
    return this.#list.length;
  }

  get isFull(): boolean {
    return this.#list.length === this.#limit;
  }

  wants(haversine: number): boolean {
    return haversine < this.#haversine || (haversine === this.#haversine && !this.isFull);
  }

  add(row: number, haversine: number): void {
    const list = this.#list;
    if (this.isFull) list.pop();
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle].haversine <= haversine) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, { row, haversine });
    if (this.isFull) this.#reach(list[this.#limit - 1].haversine);
  }

  found(): Near[] {
    return this.#list.map(({ row, haversine }) => ({ row, metres: metresOf(haversine) }));
  }

  #reach(haversine: number): void {
    this.#haversine = haversine;
    this.metres = metresOf(haversine);
    // rounding apart
    this.latitudes = (this.metres / METRES_PER_DEGREE) * 1.000001 + 1e-9;
    // where the circle comes nearest to a pole a degree is shortest
    const northernmost = Math.abs(this.#from.lat) + this.latitudes;
    this.longitudes =
      northernmost < 89 ? this.latitudes / Math.cos(northernmost * RADIANS) : Infinity;
  }
}
