/** How many drivers are in each H3 cell, for views too wide for markers. */
import { cellToBoundary, latLngToCell } from "h3-js";

export type Cell = { cell: string; count: number; outline: [lon: number, lat: number][] };
export type Counted = { lon: number; lat: number; count: number };

const EDGE_PIXELS_MIN = 8;
/** Average length of a cell's edge by resolution, m. */
const EDGE_METRES = [1_281_256, 483_057, 182_513, 68_979, 26_072, 9854, 3725, 1406, 531, 201];
const METRES_PER_PIXEL_AT_ZOOM_0 = 78_271.5;

export function metresPerPixelAt(zoom: number, lat: number): number {
  return (METRES_PER_PIXEL_AT_ZOOM_0 * Math.cos((lat * Math.PI) / 180)) / 2 ** zoom;
}

/** The finest cells that are still easy to see. */
export function resolutionAt(zoom: number, lat: number): number {
  const metresPerPixel = metresPerPixelAt(zoom, lat);
  const finest = EDGE_METRES.findLastIndex((edge) => edge / metresPerPixel >= EDGE_PIXELS_MIN);
  return Math.max(0, finest);
}

export function densityOf(drivers: Iterable<Counted>, resolution: number): Cell[] {
  const counts = new Map<string, number>();
  for (const { lat, lon, count } of drivers) {
    const cell = latLngToCell(lat, lon, resolution);
    counts.set(cell, (counts.get(cell) ?? 0) + count);
  }
  return [...counts].map(([cell, count]) => ({ cell, count, outline: outlineOf(cell) }));
}

const outlines = new Map<string, Cell["outline"]>();

function outlineOf(cell: string): Cell["outline"] {
  let outline = outlines.get(cell);
  if (outline === undefined) {
    if (outlines.size > 20_000) outlines.clear();
    outline = cellToBoundary(cell, true) as Cell["outline"];
    const [first] = outline[0];
    // a cell across the antimeridian is drawn on one side of the map
    outline = outline.map(([lon, lat]) => [
      lon - first > 180 ? lon - 360 : first - lon > 180 ? lon + 360 : lon,
      lat,
    ]);
    outlines.set(cell, outline);
  }
  return outline;
}
