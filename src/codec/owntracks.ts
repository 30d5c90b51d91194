/**
 * OwnTracks JSON to a ping. Its units are its own: `tst` seconds, `vel` km/h, `batt` percent.
 * Fields without a counterpart (`tid`, `vac`, `conn`, `created_at` …) are kept under their names.
 * Source: OwnTracks Booklet, "JSON".
 */
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { type JsonObject, parseObject } from "./json.ts";
import { metresPerSecond, shareOfPercent } from "./units.ts";

const KMH = 1 / 3.6;

/** `lat` and `lon` are called the same. */
const names: ReadonlyMap<string, string> = new Map([
  ["tst", "ts"],
  ["vel", "speed"],
  ["cog", "heading"],
  ["acc", "accuracy"],
  ["alt", "altitude"],
  ["batt", "battery"],
]);

/** A ping of `_type` location, "event" for any other `_type`, or why it is neither. */
export function owntracksToPing(body: Uint8Array): JsonObject | "event" | ErrorCode {
  const message = parseObject(body, 0, body.length);
  if (message === null || typeof message._type !== "string") return "bad_json";
  if (message._type !== "location") return "event";
  if (body.length > limits.pingBytesMax) return "too_large";
  const ping: JsonObject = Object.create(null);
  for (const name of Object.keys(message)) {
    if (name !== "_type" && !names.has(name)) ping[name] = message[name];
  }
  for (const [name, ours] of names) {
    if (Object.hasOwn(message, name)) ping[ours] = message[name];
  }
  if (Object.hasOwn(message, "vel")) ping.speed = metresPerSecond(message.vel, KMH);
  if (Object.hasOwn(message, "batt")) ping.battery = shareOfPercent(message.batt);
  return ping;
}
