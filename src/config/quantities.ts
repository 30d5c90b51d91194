const msPerUnit = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

const bytesPerUnit = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["tb", 1e12],
  ["k", 2 ** 10],
  ["m", 2 ** 20],
  ["g", 2 ** 30],
  ["t", 2 ** 40],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
  ["tib", 2 ** 40],
]);

/** `10m`, `500ms`, `1.5h` in ms; null when it is no duration. A number without a unit is none. */
export function parseDuration(text: string): number | null {
  return quantity(text, msPerUnit);
}

/** `1GiB`, `512M` (binary), `20MB` (decimal) or plain bytes; null when it is no size. */
export function parseSize(text: string): number | null {
  return quantity(text, bytesPerUnit);
}

function quantity(text: string, units: Map<string, number>): number | null {
  const match = /^(\d{1,16}(?:\.\d{1,6})?) ?([a-z]*)$/.exec(text.trim().toLowerCase());
  const factor = match === null ? undefined : units.get(match[2]);
  if (match === null || factor === undefined) return null;
  const value = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? value : null;
}
