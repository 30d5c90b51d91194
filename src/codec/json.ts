import { isUtf8 } from "node:buffer";
import { limits } from "../model/limits.ts";

export type JsonObject = Record<string, unknown>;

/** Newer than TypeScript's library: numbers kept as they were written. */
const exact = JSON as unknown as {
  rawJSON(text: string): unknown;
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source: string }) => unknown,
  ): unknown;
};

/**
 * The JSON object in `[start, end)`, null when there is none: bad JSON, trailing bytes, BOM,
 * invalid UTF-8, another kind of value, nesting deeper than the limit, lone surrogates.
 * A number beyond 2^53 (a serial number) is a `rawJSON` object, which is written as it was read.
 */
export function parseObject(bytes: Uint8Array, start: number, end: number): JsonObject | null {
  const range = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  if (!isUtf8(range)) return null;
  const text = range.toString();
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return null;
    const kind = look(value, 1);
    if (kind === BAD) return null;
    return (kind === INEXACT ? exact.parse(text, keepDigits) : value) as JsonObject;
  } catch {
    return null;
  }
}

/** Whether an object from elsewhere may be a ping: depth and strings as in `parseObject`. */
export function isSound(value: JsonObject): boolean {
  return look(value, 1) !== BAD;
}

const BAD = 0;
const FINE = 1;
const INEXACT = 2;
type Look = typeof BAD | typeof FINE | typeof INEXACT;

function look(value: unknown, depth: number): Look {
  if (typeof value === "string") return value.isWellFormed() ? FINE : BAD;
  if (typeof value === "number") {
    return Math.abs(value) > Number.MAX_SAFE_INTEGER ? INEXACT : FINE;
  }
  if (typeof value !== "object" || value === null) return FINE;
  if (depth > limits.jsonDepthMax) return BAD;
  let all: Look = FINE;
  for (const key of Object.keys(value)) {
    if (!key.isWellFormed()) return BAD;
    const one = look((value as JsonObject)[key], depth + 1);
    if (one === BAD) return BAD;
    if (one === INEXACT) all = INEXACT;
  }
  return all;
}

function keepDigits(_key: string, value: unknown, context: { source: string }): unknown {
  const inexact = typeof value === "number" && Math.abs(value) > Number.MAX_SAFE_INTEGER;
  return inexact ? exact.rawJSON(context.source) : value;
}
