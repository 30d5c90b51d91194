/** Query parameters as values; `BadRequest` says what is wrong with one. */
import { BadRequest } from "./rider-request.ts";

type Params = ReadonlyMap<string, string>;

const number = /^-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?$/;
const NUMBER_CHARS_MAX = 32;
const QUOTED_CHARS_MAX = 60;

/** A name that is misspelt must not be passed over in silence. */
export function refuseUnknown(params: Params, known: readonly string[]): void {
  for (const name of params.keys()) {
    if (known.includes(name)) continue;
    throw new BadRequest("bad_parameter", `${quoted(name)} is not one of ${known.join(", ")}`);
  }
}

export function numberOf(
  params: Params,
  name: string,
  range: { min: number; max: number; default: number },
): number {
  const text = params.get(name);
  if (text === undefined) return range.default;
  const value = toNumber(text);
  if (value >= range.min && value <= range.max) return value;
  const message = `${name} must be ${range.min} to ${range.max}, not ${quoted(text)}`;
  throw new BadRequest("bad_parameter", message);
}

export function integerOf(
  params: Params,
  name: string,
  range: { min: number; max: number; default: number },
): number {
  const value = numberOf(params, name, range);
  if (Number.isInteger(value)) return value;
  throw new BadRequest("bad_parameter", `${name} must be a whole number`);
}

export function choiceOf<T extends string>(
  params: Params,
  name: string,
  choices: readonly [T, ...T[]],
): T {
  const text = params.get(name) ?? choices[0];
  const choice = choices.find((c) => c === text);
  if (choice !== undefined) return choice;
  const message = `${name} must be ${choices.join(" or ")}, not ${quoted(text)}`;
  throw new BadRequest("bad_parameter", message);
}

/** `lon,lat`. */
export function pointOf(text: string, name: string): { lat: number; lon: number } {
  const [lon, lat] = numbersOf(text, name, 2, "lon,lat");
  if (Math.abs(lon) <= 180 && Math.abs(lat) <= 90) return { lat, lon };
  throw new BadRequest("bad_parameter", `${name} is not on earth: it takes lon,lat in degrees`);
}

/** ms or ISO 8601. */
export function timeOf(params: Params, name: string, otherwise: number): number {
  const text = params.get(name);
  if (text === undefined) return otherwise;
  const ms = /^\d{1,15}$/.test(text) ? Number(text) : isoTime(text);
  if (Number.isFinite(ms)) return ms;
  throw new BadRequest("bad_parameter", `${name} must be ms or ISO 8601, not ${quoted(text)}`);
}

export function numbersOf(text: string, name: string, count: number, form: string): number[] {
  const numbers = text.split(",", count + 1).map(toNumber);
  if (numbers.length === count && numbers.every(Number.isFinite)) return numbers;
  throw new BadRequest("bad_parameter", `${name} takes ${form}, not ${quoted(text)}`);
}

export function quoted(text: string): string {
  const cut = text.length > QUOTED_CHARS_MAX ? `${text.slice(0, QUOTED_CHARS_MAX)}…` : text;
  return JSON.stringify(cut);
}

const toNumber = (text: string): number =>
  text.length <= NUMBER_CHARS_MAX && number.test(text) ? Number(text) : Number.NaN;

/** A date with a time has a zone, or it means something else on every machine. */
const iso = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[-+]\d{2}:?\d{2}))?$/;

function isoTime(text: string): number {
  // a plus sign of a zone comes as a space where it was not escaped
  const zoned = text.replace(" ", "+");
  return iso.test(zoned) ? Date.parse(zoned) : Number.NaN;
}
