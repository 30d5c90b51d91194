/**
 * The strict scanner of the canonical form (contract §2): decides in one pass over the bytes, and
 * without an object, whether a ping may be stored as it came. It takes less than JSON does (plain
 * ASCII strings, no white space, no nested values, every range met); whatever it declines goes
 * the slow way (`ping.ts`), which alone knows reasons.
 *
 * Bounds: the last byte is checked to be `}` first. No literal below holds one and no number does,
 * so only the loops over strings must look at `end`. (`undefined - 0x30 >>> 0` is 0, a digit: a
 * loop over digits must not reach the end of the buffer.)
 */
import { knownNames, latMax, lonMax, type Range, ranges } from "./fields.ts";
import { limits } from "../model/limits.ts";

const COMMA = 0x2c;
const QUOTE = 0x22;
const CLOSE = 0x7d;

/** Bytes of a plain string: printable ASCII but `"` and `\`. 2: not in an id. */
const plain = new Uint8Array(256);
for (let c = 0x20; c < 0x7f; c++) plain[c] = 1;
plain[QUOTE] = 0;
plain[0x5c] = 0;
for (const c of "/+#") plain[c.charCodeAt(0)] = 2;

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Four bytes in one number, so that a literal is compared in three steps. */
function four(b: Uint8Array, p: number): number {
  return b[p] | (b[p + 1] << 8) | (b[p + 2] << 16) | (b[p + 3] << 24);
}

/** What stands between two values, 7 to 12 bytes: `tail` and `middle` may overlap. */
type Literal = {
  first: number;
  head: number;
  middle: number;
  tail: number;
  tailAt: number;
  length: number;
};

function literal(text: string): Literal {
  const bytes = ascii(text);
  const { length } = bytes;
  const tailAt = length - 4;
  const middle = four(bytes, Math.min(4, tailAt));
  return {
    first: bytes[0],
    head: four(bytes, 0),
    middle,
    tail: four(bytes, tailAt),
    tailAt,
    length,
  };
}

const literals = {
  id: literal('{"id":"'),
  ts: literal('","ts":'),
  lat: literal(',"lat":'),
  lon: literal(',"lon":'),
  speed: literal(',"speed":'),
  heading: literal(',"heading":'),
  accuracy: literal(',"accuracy":'),
  altitude: literal(',"altitude":'),
  battery: literal(',"battery":'),
  trip: literal(',"trip":"'),
  seq: literal(',"seq":'),
};
const TRUE = four(ascii("true"), 0);
const ALSE = four(ascii("alse"), 0);
const NULL = four(ascii("null"), 0);
const knownKeys = knownNames.map(ascii);
const powersOfTen = Float64Array.from({ length: 16 }, (_, k) => 10 ** k);
/** Keys of unknown fields are compared with each other: beyond so many the slow way is better. */
const UNKNOWN_MAX = 8;
const SHORTEST = '{"id":"x","ts":1000000000000,"lat":0,"lon":0}'.length;

export class CanonicalScanner {
  idStart = 0;
  idEnd = 0;
  ts = 0.5;
  lat = 0.5;
  lon = 0.5;
  /** What follows `lon`, up to the closing brace. */
  restStart = 0;
  /** NaN: the ping has none. */
  speed = 0.5;
  heading = 0.5;
  accuracy = 0.5;
  altitude = 0.5;
  battery = 0.5;
  /** The characters of `trip`, within its quotes; -1: there is none. */
  tripStart = -1;
  tripEnd = -1;
  /** What follows `trip`, from its comma up to the closing brace: `seq` and unknown fields. */
  extraStart = 0;
  #number = 0.5;
  #unknown = 0;
  readonly #unknownKeys = new Int32Array(UNKNOWN_MAX * 2);

  /** True when `[start, end)` is a canonical ping; then the fields above are its own. */
  scan(b: Uint8Array, start: number, end: number): boolean {
    if (end - start < SHORTEST || b[end - 1] !== CLOSE) return false;
    if (!matches(b, start, literals.id)) return false;
    const idStart = start + 7;
    const idMax = Math.min(end, idStart + limits.driverIdBytesMax);
    let p = idStart;
    while (p < idMax && plain[b[p]] === 1) p++;
    if (p === idStart || !matches(b, p, literals.ts)) return false;
    this.idStart = idStart;
    this.idEnd = p;
    p = this.#time(b, p + 7);
    if (p === 0 || !matches(b, p, literals.lat)) return false;
    p = this.#numeral(b, p + 7);
    const lat = this.#number;
    if (p === 0 || !(lat >= -latMax && lat <= latMax)) return false;
    if (!matches(b, p, literals.lon)) return false;
    p = this.#numeral(b, p + 7);
    const lon = this.#number;
    if (p === 0 || !(lon >= -lonMax && lon <= lonMax)) return false;
    this.lat = lat;
    this.lon = lon;
    this.restStart = p;
    this.extraStart = p;
    this.speed = NaN;
    this.heading = NaN;
    this.accuracy = NaN;
    this.altitude = NaN;
    this.battery = NaN;
    this.tripStart = -1;
    return b[p] === CLOSE ? p === end - 1 : this.#optional(b, p, end);
  }

  /** 13 digits: milliseconds from 2001 to 2286. Any other time is for the slow way. */
  #time(b: Uint8Array, start: number): number {
    let high = b[start] - 0x30;
    if (high < 1 || high > 9) return 0;
    for (let p = start + 1; p < start + 7; p++) {
      const d = b[p] - 0x30;
      if (!(d >= 0 && d <= 9)) return 0;
      high = high * 10 + d;
    }
    let low = 0;
    for (let p = start + 7; p < start + 13; p++) {
      const d = b[p] - 0x30;
      if (!(d >= 0 && d <= 9)) return 0;
      low = low * 10 + d;
    }
    this.ts = high * 1_000_000 + low;
    return start + 13;
  }

  /** A JSON number at `start`, into `#number`: returns where it ends, 0 when there is none. */
  #numeral(b: Uint8Array, start: number): number {
    let p = start;
    if (b[p] === 0x2d) p++;
    const first = p;
    let d = b[p] - 0x30;
    if (!(d >= 0 && d <= 9)) return 0;
    let m = d;
    p++;
    if (d !== 0) {
      while ((d = b[p] - 0x30) >= 0 && d <= 9) {
        m = (Math.imul(m, 10) + d) | 0;
        p++;
      }
    }
    let digits = p - first;
    let fraction = 0;
    if (b[p] === 0x2e) {
      const point = p++;
      while ((d = b[p] - 0x30) >= 0 && d <= 9) {
        m = (Math.imul(m, 10) + d) | 0;
        p++;
      }
      fraction = p - point - 1;
      if (fraction === 0) return 0;
      digits += fraction;
    }
    if (b[p] === 0x65 || b[p] === 0x45) return this.#exponent(b, start, p);
    if (digits > 9) return this.#longNumeral(b, start, p, digits, fraction);
    // Both below 2^53 and the power exact: the division rounds once, as the true value would.
    const value = fraction === 0 ? m : m / powersOfTen[fraction];
    this.#number = first === start ? value : -value;
    return p;
  }

  #longNumeral(b: Uint8Array, start: number, end: number, digits: number, f: number): number {
    if (digits > 15) {
      this.#number = Number(text(b, start, end));
      return end;
    }
    let m = 0;
    for (let p = start; p < end; p++) {
      const d = b[p] - 0x30;
      if (d >= 0) m = m * 10 + d;
    }
    const value = m / powersOfTen[f];
    this.#number = b[start] === 0x2d ? -value : value;
    return end;
  }

  #exponent(b: Uint8Array, start: number, e: number): number {
    let p = e + 1;
    if (b[p] === 0x2b || b[p] === 0x2d) p++;
    const first = p;
    while (b[p] >= 0x30 && b[p] <= 0x39) p++;
    if (p === first) return 0;
    this.#number = Number(text(b, start, p));
    return p;
  }

  #optional(b: Uint8Array, start: number, end: number): boolean {
    let p = start;
    if (matches(b, p, literals.speed)) {
      p = this.#inRange(b, p + 9, ranges.speed);
      this.speed = this.#number;
    }
    if (p !== 0 && matches(b, p, literals.heading)) {
      p = this.#inRange(b, p + 11, ranges.heading);
      this.heading = this.#number;
      if (this.heading === ranges.heading.max) return false;
    }
    if (p !== 0 && matches(b, p, literals.accuracy)) {
      p = this.#inRange(b, p + 12, ranges.accuracy);
      this.accuracy = this.#number;
    }
    if (p !== 0 && matches(b, p, literals.altitude)) {
      p = this.#inRange(b, p + 12, ranges.altitude);
      this.altitude = this.#number;
    }
    if (p !== 0 && matches(b, p, literals.battery)) {
      p = this.#inRange(b, p + 11, ranges.battery);
      this.battery = this.#number;
    }
    if (p !== 0 && matches(b, p, literals.trip)) {
      p += 9;
      this.tripStart = p;
      while (p < end && plain[b[p]] !== 0) p++;
      this.tripEnd = p;
      if (p >= end || b[p++] !== QUOTE) return false;
    }
    this.extraStart = p;
    if (p !== 0 && matches(b, p, literals.seq)) p = count(b, p + 7);
    if (p === 0) return false;
    return b[p] === CLOSE ? p === end - 1 : this.#unknownFields(b, p, end);
  }

  #inRange(b: Uint8Array, start: number, range: Range): number {
    const p = this.#numeral(b, start);
    return this.#number >= range.min && this.#number <= range.max ? p : 0;
  }

  #unknownFields(b: Uint8Array, start: number, end: number): boolean {
    this.#unknown = 0;
    let p = start;
    while (b[p] === COMMA && b[p + 1] === QUOTE) {
      const keyStart = p + 2;
      p = keyStart;
      while (p < end && plain[b[p]] !== 0) p++;
      if (p >= end || b[p] !== QUOTE || b[p + 1] !== 0x3a) return false;
      if (!this.#newKey(b, keyStart, p)) return false;
      p += 2;
      const c = b[p];
      if (c === QUOTE) {
        p++;
        while (p < end && plain[b[p]] !== 0) p++;
        if (p >= end || b[p++] !== QUOTE) return false;
      } else if (c === 0x74 && four(b, p) === TRUE) {
        p += 4;
      } else if (c === 0x66 && four(b, p + 1) === ALSE) {
        p += 5;
      } else if (c === 0x6e && four(b, p) === NULL) {
        p += 4;
      } else {
        p = this.#numeral(b, p);
        if (p === 0) return false;
      }
    }
    return b[p] === CLOSE && p === end - 1;
  }

  /** False for a name of the schema (out of its place here) and for one that came before. */
  #newKey(b: Uint8Array, start: number, end: number): boolean {
    const n = this.#unknown++;
    if (n === UNKNOWN_MAX) return false;
    for (let i = 0; i < knownKeys.length; i++) {
      const name = knownKeys[i];
      if (name.length === end - start && isWord(b, start, name)) return false;
    }
    const keys = this.#unknownKeys;
    for (let i = 0; i < n; i++) {
      const at = keys[i * 2];
      if (keys[i * 2 + 1] - at === end - start && sameRange(b, at, start, end)) return false;
    }
    keys[n * 2] = start;
    keys[n * 2 + 1] = end;
    return true;
  }
}

function matches(b: Uint8Array, p: number, l: Literal): boolean {
  // The first byte alone tells a ping that ends here, without a look behind its end.
  if (b[p] !== l.first || four(b, p) !== l.head || four(b, p + l.tailAt) !== l.tail) return false;
  return l.tailAt < 4 || four(b, p + 4) === l.middle;
}

function isWord(b: Uint8Array, p: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) if (b[p + i] !== word[i]) return false;
  return true;
}

function sameRange(b: Uint8Array, at: number, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (b[i] !== b[at + i - start]) return false;
  return true;
}

/** `seq`: up to 15 digits; larger ones are for the slow way. */
function count(b: Uint8Array, start: number): number {
  let p = start;
  while (p < start + 15 && b[p] >= 0x30 && b[p] <= 0x39) p++;
  if (p === start || (b[start] === 0x30 && p > start + 1)) return 0;
  return b[p] === COMMA || b[p] === CLOSE ? p : 0;
}

function text(b: Uint8Array, start: number, end: number): string {
  let s = "";
  for (let p = start; p < end; p++) s += String.fromCharCode(b[p]);
  return s;
}
