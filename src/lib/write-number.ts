/** Numbers as JSON, straight into bytes: 30 ns, against 300 for a string that is then copied. */

const ZERO = 0x30;
const MINUS = 0x2d;
const POINT = 0x2e;
const MILLION = 1_000_000;
/** Seven places behind the point are a centimetre on earth. */
const PLACES = 7;
const SCALE = 10 ** PLACES;
/** Up to fifteen digits no two numbers are the same double. */
const SCALED_MAX = 10 ** 15;

/** Returns where it ends. `n`: whole, from 0 to 2^53; anything else is left to `String`. */
export function writeInteger(target: Buffer, at: number, n: number): number {
  if (!(n >= 0 && n <= Number.MAX_SAFE_INTEGER) || n % 1 !== 0) return writeText(target, at, n);
  if (n < MILLION) return writeDigits(target, at, n, digitsOf(n));
  // in parts that fit the machine's whole numbers
  const high = Math.floor(n / MILLION);
  return writeDigits(target, writeInteger(target, at, high), n - high * MILLION, 6);
}

/** Returns where it ends. The shortest form of numbers with few places, as degrees have. */
export function writeDecimal(target: Buffer, at: number, x: number): number {
  const scaled = Math.round(Math.abs(x) * SCALE);
  // exactly this number: both are the double that is next to the quotient
  if (!(scaled < SCALED_MAX) || scaled / SCALE !== Math.abs(x)) return writeText(target, at, x);
  if (x < 0) target[at++] = MINUS;
  const whole = Math.floor(scaled / SCALE);
  let places = scaled - whole * SCALE;
  at = writeDigits(target, at, whole, digitsOf(whole));
  if (places === 0) return at;
  let width = PLACES;
  while (places % 10 === 0) {
    places /= 10;
    width--;
  }
  target[at++] = POINT;
  return writeDigits(target, at, places, width);
}

function writeText(target: Buffer, at: number, n: number): number {
  return at + target.write(String(n), at, "latin1");
}

function writeDigits(target: Buffer, at: number, n: number, width: number): number {
  let left = n | 0;
  for (let i = at + width - 1; i >= at; i--) {
    const rest = (left / 10) | 0;
    target[i] = ZERO + left - 10 * rest;
    left = rest;
  }
  return at + width;
}

function digitsOf(n: number): number {
  let width = 1;
  for (let bound = 10; n >= bound; bound *= 10) width++;
  return width;
}
