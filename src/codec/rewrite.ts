/**
 * The slow way: a parsed ping, picked by schema and written anew in canonical form. What is no
 * field of ours is kept as it is; what is wrong in an optional field is kept as `raw.{field}`.
 *
 * Decided here, where the contract is silent:
 * - `ts` takes the forms of `timestamp` too: below 10^11 it would be a fix before March 1973, so it
 *   is seconds.
 * - A field and its alias together: the field counts. If the alias says something else it is kept
 *   as `raw.{alias}`, flag `field`.
 * - `flags` from a device would pass for ours: kept as `raw.flags`, flag `field`.
 * - The first reason in this order is given: id, identity, position, time.
 */
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import {
  aheadMsMax,
  aliases,
  clampedFromMs,
  knownNameSet,
  latMax,
  lonMax,
  type NumberField,
  oldAfterMs,
  optionalFields,
  ranges,
} from "./fields.ts";
import { CLAMPED, FIELD, flagsText, OLD, ZERO } from "./flags.ts";
import type { JsonObject } from "./json.ts";
import { fixTime } from "./time.ts";

const notInIds = /[\p{Cc}/+#]/u;

export class Rewrite {
  reason: ErrorCode | null = null;
  id = "";
  /** As it is stored; `fix` is the device's own time. */
  ts = 0;
  fix = 0;
  lat = 0;
  lon = 0;
  flags = 0;
  readonly #fields = new Map<string, unknown>();
  readonly #raw = new Map<string, unknown>();
  readonly #unknown = new Map<string, unknown>();

  /** Takes the fields apart and checks them: false when there is a `reason`. */
  pick(ping: JsonObject, receivedMs: number, identity: string | null): boolean {
    this.flags = 0;
    this.#fields.clear();
    this.#raw.clear();
    this.#unknown.clear();
    this.#sort(ping);
    this.reason = this.#checkId(identity) ?? this.#checkPosition() ?? this.#checkTime(receivedMs);
    if (this.reason !== null) return false;
    this.#checkOptional();
    return true;
  }

  /** The canonical text; `jump` is known only to who keeps the previous fix. */
  text(flags: number): string {
    const { ts, lat, lon } = this;
    let text = `{"id":${JSON.stringify(this.id)},"ts":${ts},"lat":${lat},"lon":${lon}`;
    for (const name of optionalFields) {
      const value = this.#fields.get(name);
      if (typeof value === "number") text += `,"${name}":${value}`;
      else if (value !== undefined) text += `,"${name}":${JSON.stringify(value)}`;
    }
    for (const [name, value] of this.#unknown) text += member(name, value);
    for (const [name, value] of this.#raw) text += member(name, value);
    if (flags !== 0) text += `,"flags":${flagsText(flags)}`;
    return `${text}}`;
  }

  #sort(ping: JsonObject): void {
    const fields = this.#fields;
    for (const name of Object.keys(ping)) {
      if (ping[name] === undefined) continue;
      if (knownNameSet.has(name)) fields.set(name, ping[name]);
      else this.#unknown.set(name, ping[name]);
    }
    for (const [alias, name] of aliases) {
      const value = fields.get(alias);
      if (value === undefined) continue;
      if (!fields.has(name)) fields.set(name, value);
      else if (!same(name, fields.get(name), value)) this.#keepRaw(alias, value);
    }
    if (fields.has("flags")) this.#keepRaw("flags", fields.get("flags"));
  }

  #keepRaw(name: string, value: unknown): void {
    this.#fields.delete(name);
    this.#unknown.delete(`raw.${name}`);
    this.#raw.set(`raw.${name}`, value);
    this.flags |= FIELD;
  }

  #checkId(identity: string | null): ErrorCode | null {
    const id = this.#fields.get("id") ?? (this.#fields.has("id") ? null : identity);
    if (typeof id !== "string" || !isDriverId(id)) return "bad_id";
    this.id = id;
    return identity !== null && id !== identity ? "wrong_identity" : null;
  }

  #checkPosition(): ErrorCode | null {
    const lat = this.#fields.get("lat");
    const lon = this.#fields.get("lon");
    if (typeof lat !== "number" || !(Math.abs(lat) <= latMax)) return "bad_position";
    if (typeof lon !== "number" || !(Math.abs(lon) <= lonMax)) return "bad_position";
    this.lat = lat;
    this.lon = lon;
    if (lat === 0 && lon === 0) this.flags |= ZERO;
    return null;
  }

  #checkTime(receivedMs: number): ErrorCode | null {
    const fix = fixTime(this.#fields.get("ts"));
    if (fix === null) return "bad_time";
    const ahead = fix - receivedMs;
    if (ahead > aheadMsMax) return "bad_time";
    this.fix = fix;
    this.ts = fix;
    if (ahead >= clampedFromMs) {
      this.ts = receivedMs;
      this.#unknown.delete("tsDevice");
      this.#raw.set("tsDevice", fix);
      this.flags |= CLAMPED;
    } else if (-ahead > oldAfterMs) {
      this.flags |= OLD;
    }
    return null;
  }

  #checkOptional(): void {
    for (const name of optionalFields) {
      const value = this.#fields.get(name);
      if (value === undefined) continue;
      if (name === "trip" ? typeof value !== "string" : !isInRange(name, value)) {
        this.#keepRaw(name, value);
      } else if (name === "heading" && value === ranges.heading.max) {
        this.#fields.set(name, 0);
      }
    }
  }
}

/** Contract §2: 1 to 128 bytes of UTF-8 without `/ + #` or control characters. */
export function isDriverId(id: string): boolean {
  return (
    id !== "" &&
    id.length <= limits.driverIdBytesMax &&
    Buffer.byteLength(id) <= limits.driverIdBytesMax &&
    id.isWellFormed() &&
    !notInIds.test(id)
  );
}

function isInRange(name: NumberField, value: unknown): boolean {
  if (typeof value !== "number") return false;
  if (name === "seq" && !Number.isSafeInteger(value)) return false;
  return value >= ranges[name].min && value <= ranges[name].max;
}

/** Whether an alias repeats what its field says, in another form for times. */
function same(name: string, a: unknown, b: unknown): boolean {
  if (name === "ts") return fixTime(a) === fixTime(b);
  return a === b;
}

function member(name: string, value: unknown): string {
  return `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
}
