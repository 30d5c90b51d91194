/** What the map shows at the moment, for tests: `window.milepostMap`. */
export type Shown = {
  readonly connection: string;
  readonly mode: "drivers" | "density";
  /** Known, in and around the view. */
  readonly drivers: number;
  /** On screen: drivers, or in density cells. */
  readonly inView: number;
  readonly updates: number;
  readonly box: string | null;
  readonly zoom: number;
  readonly selected: string | null;
  readonly following: boolean;
  /** Fixes of the selected driver's trail. */
  readonly trail: number;
  /** Frames drawn so far. */
  readonly frames: number;
  ids(): string[];
  /** Where a driver's marker is drawn: degrees, and pixels of the page. */
  placeOf(id: string): { lon: number; lat: number; x: number; y: number } | null;
};
