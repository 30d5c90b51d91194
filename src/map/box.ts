/** Rectangles of degrees, as channels and look-ups name them. */
export type Box = { west: number; south: number; east: number; north: number };

export const WORLD: Box = { west: -180, south: -90, east: 180, north: 90 };
/** Of the view's size, on each side: a short drag stays within what is subscribed. */
const MARGIN = 0.3;

/** The view with room around it; a view across the antimeridian has `west` above `east`. */
export function around(view: Box): Box {
  const width = view.east - view.west;
  const height = view.north - view.south;
  const south = Math.max(-90, view.south - height * MARGIN);
  const north = Math.min(90, view.north + height * MARGIN);
  if (width * (1 + 2 * MARGIN) >= 360) return { ...WORLD, south, north };
  return {
    west: wrapped(view.west - width * MARGIN),
    south,
    east: wrapped(view.east + width * MARGIN),
    north,
  };
}

/** Whether a subscription to `box` still serves the view: holds it, and not very much more. */
export function serves(box: Box, view: Box): boolean {
  const wanted = around(view);
  if (widthOf(box) > 2.2 * widthOf(wanted) || widthOf(wanted) > 2.2 * widthOf(box)) return false;
  if (view.south < box.south || view.north > box.north) return false;
  if (widthOf(box) === 360) return true;
  return (
    offset(box.west, view.west) <= widthOf(box) &&
    offset(box.west, view.west) + view.east - view.west <= widthOf(box)
  );
}

export function isWithin(box: Box, lon: number, lat: number): boolean {
  if (lat < box.south || lat > box.north) return false;
  return widthOf(box) === 360 || offset(box.west, lon) <= widthOf(box);
}

/** `w,s,e,n`; a hundred-thousandth of a degree is a metre. */
export function text({ west, south, east, north }: Box): string {
  return [west, south, east, north].map((degrees) => String(round5(degrees))).join(",");
}

const widthOf = ({ west, east }: Box): number => (east > west ? east - west : east - west + 360);
/** How far east of `west` a longitude lies, 0 to 360. */
const offset = (west: number, lon: number): number => (((lon - west) % 360) + 360) % 360;
const wrapped = (lon: number): number => ((((lon + 180) % 360) + 360) % 360) - 180;
const round5 = (degrees: number): number => Math.round(degrees * 1e5) / 1e5;
