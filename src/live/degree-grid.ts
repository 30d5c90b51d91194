/** The earth cut into squares of so many to a degree, numbered in lines from the south-west on. */
export class DegreeGrid {
  readonly perDegree: number;
  /** Squares in a line, all around the earth. */
  readonly columns: number;
  readonly #lines: number;

  constructor(perDegree: number) {
    this.perDegree = perDegree;
    this.columns = 360 * perDegree;
    this.#lines = 180 * perDegree;
  }

  /** The pole belongs to the line before it, the antimeridian to the column before it. */
  lineOf(lat: number): number {
    return Math.min(this.#lines - 1, Math.floor((lat + 90) * this.perDegree));
  }

  columnOf(lon: number): number {
    return Math.min(this.columns - 1, Math.floor((lon + 180) * this.perDegree));
  }

  squareOf(lat: number, lon: number): number {
    return this.lineOf(lat) * this.columns + this.columnOf(lon);
  }
}
