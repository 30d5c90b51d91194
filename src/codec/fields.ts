/** The schema of a ping (contract §2): names in canonical order, ranges, aliases. */
export type NumberField = "speed" | "heading" | "accuracy" | "altitude" | "battery" | "seq";

export type Range = { readonly min: number; readonly max: number };

/** m/s, degrees, m, m, share of 1, count. 360 degrees is written as 0. */
export const ranges: Readonly<Record<NumberField, Range>> = {
  speed: { min: 0, max: 150 },
  heading: { min: 0, max: 360 },
  accuracy: { min: 0, max: 100_000 },
  altitude: { min: -500, max: 20_000 },
  battery: { min: 0, max: 1 },
  seq: { min: 0, max: Number.MAX_SAFE_INTEGER },
};
export const latMax = 90;
export const lonMax = 180;

/** Between `lon` and the unknown fields. */
export const optionalFields = [
  "speed",
  "heading",
  "accuracy",
  "altitude",
  "battery",
  "trip",
  "seq",
] as const;

/** A field under its own name goes before an alias, an earlier alias before a later one. */
export const aliases: ReadonlyMap<string, string> = new Map([
  ["lng", "lon"],
  ["longitude", "lon"],
  ["latitude", "lat"],
  ["bearing", "heading"],
  ["timestamp", "ts"],
]);

/** Every name that is not an unknown field. `flags` is written by us alone. */
export const knownNames: readonly string[] = [
  "id",
  "ts",
  "lat",
  "lon",
  ...optionalFields,
  "flags",
  ...aliases.keys(),
];
/** Where a name stands in `knownNames`. */
export const knownIndex: ReadonlyMap<string, number> = new Map(
  knownNames.map((name, i) => [name, i]),
);

/** Fix times, against the receive time. */
export const clampedFromMs = 3_600_000;
export const aheadMsMax = 24 * 3_600_000;
export const oldAfterMs = 7 * 24 * 3_600_000;
/** A number below this is seconds: as milliseconds it would be before March 1973. */
export const secondsBelow = 1e11;
