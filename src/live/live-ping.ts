/**
 * A record of `positions` as live tracking sees it: position and times as numbers, and the rest of
 * its JSON as bytes. A canonical ping costs one scan; any other is parsed. Fields hold until the
 * next `read`.
 */
import { isDriverId } from "../codec/rewrite.ts";
import { latMax, lonMax } from "../codec/fields.ts";
import { parseObject } from "../codec/json.ts";
import { CanonicalScanner } from "../codec/scan.ts";
import type { RecordCursor } from "../batch/records.ts";
import { fnv1a } from "../lib/fnv.ts";
import { limits } from "../model/limits.ts";

const empty = new Uint8Array(0);
const NO_TRIP = 0;

export class LivePing {
  /** The driver: the record's key. */
  key: Uint8Array = empty;
  keyStart = 0;
  keyEnd = 0;
  /** The ping's JSON, an object without white space at its end. */
  value: Uint8Array = empty;
  valueStart = 0;
  valueEnd = 0;
  offset = 0;
  /** ms: of the fix, and of the gateway that took it. */
  ts = 0.5;
  received = 0.5;
  lat = 0.5;
  lon = 0.5;
  /** The members behind `lon`, as `,"speed":3` and so on; may be empty. */
  rest: Uint8Array = empty;
  restStart = 0;
  restEnd = 0;
  /** Of the trip's id; 0 without one. */
  tripHash = NO_TRIP;
  readonly #scanner = new CanonicalScanner();

  /** Which of two pings of a driver is the later: the greater; a fast clock gains nothing. */
  get fix(): number {
    return Math.min(this.ts, this.received);
  }

  /** Its JSON without the closing brace: what is known besides may follow. */
  json(): string {
    const { buffer, byteOffset } = this.value;
    const length = this.valueEnd - 1 - this.valueStart;
    return Buffer.from(buffer, byteOffset + this.valueStart, length).toString();
  }

  /** False: the record is no ping. `nowMs` bounds times that other producers made up. */
  read(record: RecordCursor, nowMs: number): boolean {
    if (record.keyStart < 0 || record.valueStart < 0) return false;
    if (record.valueEnd - record.valueStart > limits.pingBytesMax) return false;
    const { bytes } = record;
    this.key = bytes;
    this.keyStart = record.keyStart;
    this.keyEnd = record.keyEnd;
    this.value = bytes;
    this.valueStart = record.valueStart;
    this.valueEnd = record.valueEnd;
    this.offset = record.offset;
    this.received = Math.min(record.timestamp, nowMs);
    const s = this.#scanner;
    if (!s.scan(bytes, record.valueStart, record.valueEnd)) return this.#readSlowly(bytes);
    if (!isSame(bytes, this.keyStart, this.keyEnd, s.idStart, s.idEnd)) return false;
    this.ts = s.ts;
    this.lat = s.lat;
    this.lon = s.lon;
    this.rest = bytes;
    this.restStart = s.restStart;
    this.restEnd = record.valueEnd - 1;
    this.tripHash = s.tripStart < 0 ? NO_TRIP : tripHash(bytes, s.tripStart, s.tripEnd);
    return true;
  }

  #readSlowly(bytes: Uint8Array): boolean {
    const ping = parseObject(bytes, this.valueStart, this.valueEnd);
    if (ping === null) return false;
    const { id, ts, lat, lon, ...rest } = ping;
    if (typeof id !== "string" || !isDriverId(id)) return false;
    const key = Buffer.from(id);
    if (!key.equals(bytes.subarray(this.keyStart, this.keyEnd))) return false;
    if (!isWithin(ts, Number.MAX_SAFE_INTEGER) || (ts as number) < 0) return false;
    if (!isWithin(lat, latMax) || !isWithin(lon, lonMax)) return false;
    this.ts = ts as number;
    this.lat = lat as number;
    this.lon = lon as number;
    const text = JSON.stringify(rest).slice(1, -1);
    this.rest = Buffer.from(text === "" ? "" : `,${text}`);
    this.restStart = 0;
    this.restEnd = this.rest.byteLength;
    // what was written with white space, or otherwise than we do, is given out as we do
    this.value = Buffer.from(JSON.stringify(ping));
    this.valueStart = 0;
    this.valueEnd = this.value.byteLength;
    this.tripHash = typeof rest.trip === "string" ? tripHashOf(rest.trip) : NO_TRIP;
    return true;
  }
}

/** Never the one that stands for no trip. */
function tripHash(bytes: Uint8Array, start: number, end: number): number {
  const h = fnv1a(bytes, start, end);
  return h === NO_TRIP ? 1 : h | 0;
}

export function tripHashOf(trip: string): number {
  const bytes = Buffer.from(trip);
  return tripHash(bytes, 0, bytes.byteLength);
}

function isWithin(value: unknown, max: number): boolean {
  return typeof value === "number" && Math.abs(value) <= max;
}

function isSame(b: Uint8Array, start: number, end: number, at: number, until: number): boolean {
  if (end - start !== until - at) return false;
  for (let i = start; i < end; i++) if (b[i] !== b[at + i - start]) return false;
  return true;
}
