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
  knownIndex,
  knownNames,
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

const indexOf = (name: string): number => knownIndex.get(name)!;
const ID = indexOf("id");
const TS = indexOf("ts");
const LAT = indexOf("lat");
const LON = indexOf("lon");
const FLAGS = indexOf("flags");
const optional = optionalFields.map((name) => ({ name, index: indexOf(name) }));
const aliasIndexes = [...aliases].map(([alias, name]) => [indexOf(alias), indexOf(name)] as const);

export class Rewrite {
  reason: ErrorCode | null = null;
  id = "";
  /** As it is stored; `fix` is the device's own time. */
  ts = 0;
  fix = 0;
  lat = 0;
  lon = 0;
  flags = 0;
  /** Values by `knownIndex`, undefined where there is none. */
  readonly #fields: unknown[] = knownNames.map(() => undefined);
  #ping: JsonObject = {};
  #unknown: string[] = [];
  /** Names and values of what we add behind the unknown fields. */
  #added: [name: string, value: unknown][] = [];

  /** Takes the fields apart and checks them: false when there is a `reason`. */
  pick(ping: JsonObject, receivedMs: number, identity: string | null): boolean {
    this.flags = 0;
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
    for (const { name, index } of optional) {
      const value = this.#fields[index];
      if (typeof value === "number") text += `,"${name}":${value}`;
      else if (value !== undefined) text += `,"${name}":${JSON.stringify(value)}`;
    }
    for (const name of this.#unknown) {
      // A name that we add is ours, whatever the device wrote under it.
      if (this.#added.some(([added]) => added === name)) continue;
      text += member(name, this.#ping[name]);
    }
    for (const [name, value] of this.#added) text += member(name, value);
    if (flags !== 0) text += `,"flags":${flagsText(flags)}`;
    return `${text}}`;
  }

  #sort(ping: JsonObject): void {
    const fields = this.#fields;
    fields.fill(undefined);
    this.#ping = ping;
    this.#unknown = [];
    this.#added = [];
    for (const name of Object.keys(ping)) {
      const index = knownIndex.get(name);
      if (index !== undefined) fields[index] = ping[name];
      else if (ping[name] !== undefined) this.#unknown.push(name);
    }
    for (const [alias, field] of aliasIndexes) {
      const value = fields[alias];
      if (value === undefined) continue;
      if (fields[field] === undefined) fields[field] = value;
      else if (!same(field, fields[field], value)) this.#keepRaw(alias);
    }
    if (fields[FLAGS] !== undefined) this.#keepRaw(FLAGS);
  }

  #keepRaw(index: number): void {
    this.#added.push([`raw.${knownNames[index]}`, this.#fields[index]]);
    this.#fields[index] = undefined;
    this.flags |= FIELD;
  }

  #checkId(identity: string | null): ErrorCode | null {
    const given = this.#fields[ID];
    const id = given === undefined ? identity : given;
    if (typeof id !== "string" || !isDriverId(id)) return "bad_id";
    this.id = id;
    return identity !== null && id !== identity ? "wrong_identity" : null;
  }

  #checkPosition(): ErrorCode | null {
    const lat = this.#fields[LAT];
    const lon = this.#fields[LON];
    if (typeof lat !== "number" || !(Math.abs(lat) <= latMax)) return "bad_position";
    if (typeof lon !== "number" || !(Math.abs(lon) <= lonMax)) return "bad_position";
    this.lat = lat;
    this.lon = lon;
    if (lat === 0 && lon === 0) this.flags |= ZERO;
    return null;
  }

  #checkTime(receivedMs: number): ErrorCode | null {
    const fix = fixTime(this.#fields[TS]);
    if (fix === null) return "bad_time";
    const ahead = fix - receivedMs;
    if (ahead > aheadMsMax) return "bad_time";
    this.fix = fix;
    this.ts = fix;
    if (ahead >= clampedFromMs) {
      this.ts = receivedMs;
      this.#added.push(["tsDevice", fix]);
      this.flags |= CLAMPED;
    } else if (-ahead > oldAfterMs) {
      this.flags |= OLD;
    }
    return null;
  }

  #checkOptional(): void {
    for (const { name, index } of optional) {
      const value = this.#fields[index];
      if (value === undefined) continue;
      if (name === "trip" ? typeof value !== "string" : !isInRange(name, value)) {
        this.#keepRaw(index);
      } else if (name === "heading" && value === ranges.heading.max) {
        this.#fields[index] = 0;
      }
    }
  }
}

/** Contract §2: 1 to 128 bytes of UTF-8 without `/ + #` or control characters. */
export function isDriverId(id: string): boolean {
  return (
    id !== "" &&
    id.length <= limits.driverIdBytesMax &&
    (id.length * 3 <= limits.driverIdBytesMax ||
      Buffer.byteLength(id) <= limits.driverIdBytesMax) &&
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
function same(field: number, a: unknown, b: unknown): boolean {
  if (field === TS) return fixTime(a) === fixTime(b);
  return a === b;
}

function member(name: string, value: unknown): string {
  return `,${JSON.stringify(name)}:${JSON.stringify(value)}`;
}
