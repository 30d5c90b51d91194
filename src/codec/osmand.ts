/**
 * What OsmAnd and Traccar Client send to a ping: query parameters (speed in knots, battery in
 * percent), and the newer client's JSON (m/s, battery 0-1). Sources: Traccar's page on the OsmAnd
 * protocol; the plugin behind the newer client, whose -1 means "unknown".
 */
import { limits } from "../model/limits.ts";
import type { ErrorCode } from "../model/errors.ts";
import { type JsonObject, parseObject } from "./json.ts";
import { metresPerSecond, shareOfPercent } from "./units.ts";

const KNOT = 1852 / 3600;

/** Parameters that are numbers, under the names they are stored with. */
const numeric: ReadonlyMap<string, string> = new Map([
  ["lat", "lat"],
  ["lon", "lon"],
  ["speed", "speed"],
  ["bearing", "heading"],
  ["heading", "heading"],
  ["altitude", "altitude"],
  ["accuracy", "accuracy"],
  ["batt", "battery"],
  ["battery", "battery"],
  ["seq", "seq"],
  ["timestamp", "ts"],
  ["hdop", "hdop"],
]);
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

/** Free parameters are kept as strings; of one given twice the last counts. */
export function osmandToPing(params: Iterable<readonly [string, string]>): JsonObject {
  const given = new Map(params);
  const ping: JsonObject = Object.create(null);
  for (const [name, value] of given) {
    const ours = numeric.get(name);
    if (ours !== undefined) ping[ours] = number(value);
    else if (name === "charge") ping.charge = boolean(value);
    else if (name !== "deviceid" && name !== "location") ping[name] = value;
  }
  const id = given.get("id") ?? given.get("deviceid");
  if (id !== undefined) ping.id = id;
  const location = given.get("location");
  if (location !== undefined) {
    const [lat, lon, ...more] = location.split(",");
    ping.lat = number(lat);
    ping.lon = more.length === 0 && lon !== undefined ? number(lon) : location;
  }
  if (given.has("speed")) ping.speed = metresPerSecond(ping.speed, KNOT);
  if (given.has("batt")) ping.battery = shareOfPercent(number(given.get("batt")!));
  return ping;
}

/**
 * `{"device_id":…,"location":{"timestamp":…,"coords":{…},"battery":{…},…}}`; `activity`, `extras`
 * and other members of `location` are kept under their names.
 */
export function osmandJsonToPing(body: Uint8Array): JsonObject | ErrorCode {
  const message = parseObject(body, 0, body.length);
  if (message === null) return "bad_json";
  if (body.length > limits.pingBytesMax) return "too_large";
  const location = objectOf(message.location);
  const coords = objectOf(location.coords);
  const battery = objectOf(location.battery);
  const ping: JsonObject = Object.create(null);
  keep(ping, message, ["device_id", "location"]);
  keep(ping, location, ["timestamp", "coords", "battery"]);
  keep(ping, coords, ["latitude", "longitude", "speed", "heading", "accuracy", "altitude"]);
  keep(ping, battery, ["level"]);
  if (message.device_id !== undefined) ping.id = message.device_id;
  ping.ts = location.timestamp;
  ping.lat = coords.latitude;
  ping.lon = coords.longitude;
  for (const name of ["speed", "heading", "accuracy", "altitude"]) {
    if (coords[name] !== -1) ping[name] = coords[name];
  }
  if (battery.level !== -1) ping.battery = battery.level;
  return ping;
}

function objectOf(value: unknown): JsonObject {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as JsonObject) : Object.create(null);
}

function keep(ping: JsonObject, from: JsonObject, but: readonly string[]): void {
  for (const name of Object.keys(from)) if (!but.includes(name)) ping[name] = from[name];
}

/** A string that is no number stays one, for the reader to reject or keep. */
function number(text: string): unknown {
  const n = decimal.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(n) ? n : text;
}

function boolean(text: string): unknown {
  return text === "true" ? true : text === "false" ? false : text;
}
