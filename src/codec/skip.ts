import { limits } from "../model/limits.ts";

/** Bytes that stand for themselves in a string. Whether they are UTF-8 is looked at per ping. */
const plain = new Uint8Array(256);
for (let c = 0x20; c < 256; c++) plain[c] = 1;
plain[0x22] = 0;
plain[0x5c] = 0;
const escapes = new Uint8Array(256);
for (const c of '"\\/bfnrt') escapes[c.charCodeAt(0)] = 1;

const OBJECT = 1;
const ARRAY = 2;

/**
 * Finds where a JSON value ends, and that it is one: the whole grammar, any depth (no recursion),
 * no allocation. Positions are -1 once the bytes are not JSON.
 */
export class JsonSkipper {
  #open = new Uint8Array(64);

  /** The position after the value that begins at `start`; -1 when none ends by `end`. */
  skip(b: Uint8Array, start: number, end: number): number {
    let depth = 0;
    let p = start;
    for (;;) {
      if (p >= end) return -1;
      const c = b[p];
      if (c === 0x22) {
        p = skipString(b, p, end);
      } else if (c === 0x7b) {
        depth = this.#enter(depth, OBJECT);
        p = skipSpace(b, p + 1, end);
        if (b[p] !== 0x7d) {
          p = skipKey(b, p, end);
          if (p < 0) return -1;
          continue;
        }
        depth--;
        p++;
      } else if (c === 0x5b) {
        depth = this.#enter(depth, ARRAY);
        p = skipSpace(b, p + 1, end);
        if (b[p] !== 0x5d) continue;
        depth--;
        p++;
      } else {
        p = skipScalar(b, p);
      }
      // A value has ended: so may what it lies in.
      for (;;) {
        if (p < 0 || p > end) return -1;
        if (depth === 0) return p;
        p = skipSpace(b, p, end);
        const inObject = this.#open[depth - 1] === OBJECT;
        const next = b[p++];
        if (next === 0x2c) {
          p = skipSpace(b, p, end);
          if (inObject) p = skipKey(b, p, end);
          if (p < 0 || p >= end) return -1;
          break;
        }
        if (next !== (inObject ? 0x7d : 0x5d)) return -1;
        depth--;
      }
    }
  }

  #enter(depth: number, kind: number): number {
    if (depth === this.#open.length) {
      const grown = new Uint8Array(Math.min(depth * 4, limits.frameBytesMax));
      grown.set(this.#open);
      this.#open = grown;
    }
    this.#open[depth] = kind;
    return depth + 1;
  }
}

export function skipSpace(b: Uint8Array, start: number, end: number): number {
  let p = start;
  while (p < end && isSpace(b[p])) p++;
  return p;
}

export function isSpace(c: number): boolean {
  return c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;
}

function skipString(b: Uint8Array, start: number, end: number): number {
  let p = start + 1;
  while (p < end) {
    const c = b[p++];
    if (plain[c] === 1) continue;
    if (c === 0x22) return p;
    if (c !== 0x5c) return -1;
    const escape = b[p++];
    if (escape === 0x75) {
      for (const hex = p + 4; p < hex; p++) if (!isHex(b[p])) return -1;
    } else if (escapes[escape] !== 1) {
      return -1;
    }
  }
  return -1;
}

/** A key, the colon and the space after it. */
function skipKey(b: Uint8Array, start: number, end: number): number {
  if (b[start] !== 0x22) return -1;
  let p = skipString(b, start, end);
  if (p < 0) return -1;
  if (b[p] !== 0x3a) {
    p = skipSpace(b, p, end);
    if (b[p] !== 0x3a) return -1;
  }
  return skipSpace(b, p + 1, end);
}

function skipScalar(b: Uint8Array, start: number): number {
  const c = b[start];
  if (c === 0x74) return skipWord(b, start, "true");
  if (c === 0x66) return skipWord(b, start, "false");
  if (c === 0x6e) return skipWord(b, start, "null");
  let p = c === 0x2d ? start + 1 : start;
  if (b[p] === 0x30) p++;
  else if ((p = skipDigits(b, p)) < 0) return -1;
  if (b[p] === 0x2e && (p = skipDigits(b, p + 1)) < 0) return -1;
  if (b[p] === 0x65 || b[p] === 0x45) {
    p++;
    if (b[p] === 0x2b || b[p] === 0x2d) p++;
    p = skipDigits(b, p);
  }
  return p;
}

function skipDigits(b: Uint8Array, start: number): number {
  let p = start;
  while (b[p] >= 0x30 && b[p] <= 0x39) p++;
  return p === start ? -1 : p;
}

function skipWord(b: Uint8Array, start: number, word: string): number {
  for (let i = 0; i < word.length; i++) if (b[start + i] !== word.charCodeAt(i)) return -1;
  return start + word.length;
}

function isHex(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66);
}
