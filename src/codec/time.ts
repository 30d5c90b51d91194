import { secondsBelow } from "./fields.ts";

/** Dates ECMAScript can hold, either side of 1970. */
const timeMax = 8.64e15;
const iso =
  /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d(?:[.,]\d{1,9})?)?([Zz]|[+-]\d\d(?::?\d\d)?)?)?$/;

/** A fix time in ms: from ms, from seconds below 10^11, or from ISO 8601; null when it is none. */
export function fixTime(value: unknown): number | null {
  if (typeof value === "string") return isoTime(value);
  if (typeof value !== "number" || !Number.isFinite(value)) return null;
  const ms = Math.round(value < secondsBelow ? value * 1000 : value);
  return Math.abs(ms) <= timeMax ? ms : null;
}

/** Without a zone it is UTC, whatever the machine's own zone. */
function isoTime(text: string): number | null {
  const parts = iso.exec(text);
  if (parts === null) return null;
  const [, date, minutes = "00:00", rest = ":00", zone = "Z"] = parts;
  const seconds = rest.replace(",", ".");
  let offset = zone.toUpperCase();
  if (offset.length === 3) offset += ":00";
  else if (offset.length === 5) offset = `${offset.slice(0, 3)}:${offset.slice(3)}`;
  const ms = Date.parse(`${date}T${minutes}${seconds}${offset}`);
  return Number.isNaN(ms) ? null : Math.floor(ms);
}
