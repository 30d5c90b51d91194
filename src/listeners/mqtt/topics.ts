/**
 * Which way a PUBLISH goes, by its topic (the contract, §3):
 *
 *     fleet/{driver}/position      position        owntracks/{user}/{device}        owntracks
 *     fleet/{driver}/event         event           owntracks/{user}/{device}/…      event
 *     fleet/{driver}/cmd           command         owntracks/{user}/{device}/cmd    command
 *     fleet/{driver}/status        broker          fleet/…, owntracks/… otherwise   unknown
 *     everything else              broker
 */
import { isUtf8 } from "node:buffer";
import { isDriverId } from "../../codec/rewrite.ts";
import { limits } from "../../model/limits.ts";

export type Way = "position" | "owntracks" | "event" | "command" | "unknown" | "broker";

export type Topic = {
  way: Way;
  /** The topic itself, to compare the next PUBLISH of a connection with. */
  bytes: Uint8Array;
  /** The driver the topic names; null where there is none or it is not a valid id. */
  driver: string | null;
  /** `driver` in UTF-8. */
  identity: Uint8Array | null;
};

const SLASH = 0x2f;

/** Why a topic name cannot be published to at all, or null. The connection is closed then. */
export function topicFault(b: Uint8Array, start: number, end: number): string | null {
  if (end === start) return "topic_empty";
  if (end - start > limits.topicBytesMax) return "topic_too_long";
  let levels = 1;
  let ascii = true;
  for (let i = start; i < end; i++) {
    const c = b[i];
    if (c === SLASH) levels++;
    else if (c === 0x2b || c === 0x23) return "topic_wildcard"; // [MQTT-3.3.2-2]
    else if (c === 0) return "topic_nul"; // [MQTT-1.5.3-2]
    else if (c >= 0x80) ascii = false;
  }
  if (levels > limits.topicLevelsMax) return "topic_levels";
  if (!ascii && !isUtf8(b.subarray(start, end))) return "topic_utf8"; // [MQTT-1.5.3-1]
  return null;
}

export function classifyTopic(name: string): Topic {
  const levels = name.split("/");
  const topicOf = (way: Way, driver: string): Topic => named(name, way, driver);
  if (levels[0] === "fleet") {
    const way = levels.length === 3 ? fleetWay(levels[2]) : "unknown";
    return topicOf(way, levels[1] ?? "");
  }
  if (levels[0] === "owntracks") {
    const [, user, device, sub] = levels;
    if (levels.length < 3 || !user || !device) return topicOf("unknown", "");
    const way = levels.length === 3 ? "owntracks" : sub === "cmd" ? "command" : "event";
    if (way === "command" && levels.length > 4) return topicOf("unknown", "");
    return topicOf(way, `${user}:${device}`);
  }
  return { way: "broker", bytes: Buffer.from(name), driver: null, identity: null };
}

function fleetWay(leaf: string): Way {
  switch (leaf) {
    case "position":
    case "event":
      return leaf;
    case "cmd":
      return "command";
    case "status":
      return "broker";
    default:
      return "unknown";
  }
}

function named(name: string, way: Way, driver: string): Topic {
  const bytes = Buffer.from(name);
  const identity = Buffer.from(driver);
  if (!isDriverId(driver))
    return { way: way === "broker" ? way : "unknown", bytes, driver: null, identity: null };
  return { way, bytes, driver, identity };
}

/**
 * Topics seen lately, so that a connection that speaks for many drivers does not classify anew.
 * Two generations: when the young one is full the old one is forgotten.
 */
export class TopicCache {
  #young = new Map<string, Topic>();
  #old = new Map<string, Topic>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  /** `bytes` hold a topic without a fault. */
  get(bytes: Buffer, start: number, end: number): Topic {
    const key = bytes.toString("latin1", start, end);
    let topic = this.#young.get(key);
    if (topic !== undefined) return topic;
    topic = this.#old.get(key) ?? classifyTopic(bytes.toString("utf8", start, end));
    if (this.#young.size >= this.#max) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, topic);
    return topic;
  }
}
