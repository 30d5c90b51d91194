/** What a stored ping is marked with, in the order it is written (contract §2). */
export const flagNames = ["zero", "jump", "field", "old", "clamped"] as const;
export type FlagName = (typeof flagNames)[number];

/** Bit masks, by position in `flagNames`. */
export const ZERO = 1;
export const JUMP = 2;
export const FIELD = 4;
export const OLD = 8;
export const CLAMPED = 16;

/** The JSON array of every combination, written once. */
const texts = Array.from({ length: 1 << flagNames.length }, (_, mask) =>
  JSON.stringify(flagNames.filter((_name, bit) => (mask & (1 << bit)) !== 0)),
);

export function flagsText(mask: number): string {
  return texts[mask];
}
