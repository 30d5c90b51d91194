/** A sphere of the earth's mean radius. */

export const RADIANS = Math.PI / 180;
export const EARTH_RADIUS_METRES = 6_371_008.8;
export const METRES_PER_DEGREE = 111_195.08;

/** The way on the sphere whose angle has this haversine. */
export const metresOf = (haversine: number): number =>
  2 * EARTH_RADIUS_METRES * Math.asin(Math.min(1, Math.sqrt(haversine)));
