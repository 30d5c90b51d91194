/**
 * A record of the log as a row: numbers, and ranges of bytes for what is text. A ping in canonical
 * form costs one scan and no object; any other is parsed. Fields hold until the next `read`.
 */
import type { RecordCursor } from "../batch/records.ts";
import { latMax, lonMax } from "../codec/fields.ts";
import { type JsonObject, parseObject } from "../codec/json.ts";
import { isDriverId } from "../codec/rewrite.ts";
import { CanonicalScanner } from "../codec/scan.ts";
import { errorTable, type ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";

/** Of column `h3`: cells some 200 m across. */
export const cellResolution = 9;

const empty = new Uint8Array(0);

/** ms: what a timestamptz can hold, 4714 BC to 294276 AD. */
const timeMsMin = -210_866_803_200_000;
const timeMsEnd = 9_224_318_016_000_000;
const float32Max = 3.4028234663852886e38;

export class PingRow {
  /** ms: of the fix, and of its receipt. */
  ts = 0.5;
  received = 0.5;
  lat = 0.5;
  lon = 0.5;
  /** NaN: null. */
  speed = 0.5;
  heading = 0.5;
  accuracy = 0.5;
  altitude = 0.5;
  battery = 0.5;
  id: Uint8Array = empty;
  idStart = 0;
  idEnd = 0;
  trip: Uint8Array = empty;
  /** -1: null. */
  tripStart = -1;
  tripEnd = -1;
  /** The members of `extra`, without braces; empty: null. */
  extra: Uint8Array = empty;
  extraStart = 0;
  extraEnd = 0;
  readonly #scanner = new CanonicalScanner();

  /** Why the record is no row; null when it is one. */
  read(record: RecordCursor): string | null {
    this.received = record.timestamp;
    const { bytes, valueStart, valueEnd } = record;
    if (valueStart < 0) return "bad_json: no value";
    if (valueEnd - valueStart > limits.pingBytesMax) return reasonText("too_large");
    if (!isTime(this.received)) return "receive time out of range";
    const s = this.#scanner;
    if (!s.scan(bytes, valueStart, valueEnd)) return this.#readSlowly(bytes, valueStart, valueEnd);
    this.ts = s.ts;
    this.lat = s.lat;
    this.lon = s.lon;
    this.speed = s.speed;
    this.heading = s.heading;
    this.accuracy = s.accuracy;
    this.altitude = s.altitude;
    this.battery = s.battery;
    this.id = this.trip = this.extra = bytes;
    this.idStart = s.idStart;
    this.idEnd = s.idEnd;
    this.tripStart = s.tripStart;
    this.tripEnd = s.tripEnd;
    // behind the comma
    this.extraEnd = valueEnd - 1;
    this.extraStart = Math.min(s.extraStart + 1, this.extraEnd);
    return null;
  }

  #readSlowly(bytes: Uint8Array, start: number, end: number): string | null {
    const ping = parseObject(bytes, start, end);
    if (ping === null) return reasonText("bad_json");
    const { id, ts, lat, lon, ...rest } = ping;
    if (typeof id !== "string" || !isDriverId(id)) return reasonText("bad_id");
    if (typeof ts !== "number" || !isTime(ts)) return reasonText("bad_time");
    if (!isWithin(lat, latMax) || !isWithin(lon, lonMax)) return reasonText("bad_position");
    this.ts = ts;
    this.lat = lat as number;
    this.lon = lon as number;
    this.speed = take(rest, "speed");
    this.heading = take(rest, "heading");
    this.accuracy = take(rest, "accuracy");
    this.altitude = take(rest, "altitude");
    this.battery = take(rest, "battery");
    for (const name of ["speed", "heading", "accuracy", "altitude", "battery"] as const) {
      if (Math.abs(this[name]) > float32Max) return `${name}: number out of range`;
    }
    this.id = Buffer.from(id);
    this.idStart = 0;
    this.idEnd = this.id.byteLength;
    this.tripStart = -1;
    if (typeof rest["trip"] === "string") {
      if (rest["trip"].includes("\0")) return "trip: a NUL byte";
      this.trip = Buffer.from(rest["trip"]);
      this.tripStart = 0;
      this.tripEnd = this.trip.byteLength;
      delete rest["trip"];
    }
    const text = JSON.stringify(rest);
    if (text.includes("\\u0000") && hasNul(rest)) return "extra: a NUL byte";
    this.extra = Buffer.from(text.slice(1, -1));
    this.extraStart = 0;
    this.extraEnd = this.extra.byteLength;
    return null;
  }
}

function reasonText(code: ErrorCode): string {
  return `${code}: ${errorTable[code].text}`;
}

function isTime(ms: number): boolean {
  return ms >= timeMsMin && ms < timeMsEnd;
}

function isWithin(value: unknown, max: number): boolean {
  return typeof value === "number" && Math.abs(value) <= max;
}

/** What is no number stays where it is, in `extra`. One beyond 2^53 was kept as it was written. */
function take(rest: JsonObject, name: string): number {
  const value = rest[name];
  if (typeof value === "object" && value !== null && "rawJSON" in value) return Infinity;
  if (typeof value !== "number") return NaN;
  delete rest[name];
  return value;
}

/** PostgreSQL's text and jsonb hold every character but this one. */
function hasNul(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\0");
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, inner]) => key.includes("\0") || hasNul(inner));
}
