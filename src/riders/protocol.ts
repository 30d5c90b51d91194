/**
 * The Centrifugo client protocol in JSON: commands in, replies out, several of either in a frame,
 * joined by newlines. What is published is encoded elsewhere, once for everybody.
 *
 *     {"id":1,"connect":{}}                                 ─▶  {"id":1,"connect":{…}}
 *     {"id":2,"subscribe":{"channel":"driver:42"}}          ─▶  {"id":2,"subscribe":{…}}
 *     {"id":3,"subscribe":{"channel":"nonsense"}}           ─▶  {"id":3,"error":{…}}
 *     {}                                                        the answer to our {}
 */
import type { StreamPosition } from "../live/recovery.ts";
import { limits } from "../model/limits.ts";

/** Answers to a command; names and messages are Centrifugo's. */
export const errors = {
  internal: { code: 100, message: "internal server error", temporary: true },
  unknownChannel: { code: 102, message: "unknown channel", temporary: false },
  alreadySubscribed: { code: 105, message: "already subscribed", temporary: false },
  limitExceeded: { code: 106, message: "limit exceeded", temporary: false },
  badRequest: { code: 107, message: "bad request", temporary: false },
  notAvailable: { code: 108, message: "not available", temporary: false },
  unrecoverable: { code: 112, message: "unrecoverable position", temporary: false },
} as const;
export type ErrorName = keyof typeof errors;

/** Close codes: clients come back after those below 3500, and need a reason to believe the rest. */
export const closes = {
  tooLarge: { code: 1009, reason: "message too large" },
  shutdown: { code: 3001, reason: "shutdown" },
  slow: { code: 3008, reason: "slow" },
  noPong: { code: 3012, reason: "no pong" },
  badRequest: { code: 3501, reason: "bad request" },
  stale: { code: 3502, reason: "stale" },
} as const;
export type CloseName = keyof typeof closes;

/** A client subscribes again by itself after this. */
export const INSUFFICIENT_STATE = { code: 2500, reason: "insufficient state" } as const;

/** How a rider wants to follow a channel. */
export type SubscribeOptions = {
  /** ms between two positions of a driver at least; 0: as they come. */
  interval: number;
  /** Only the newest of what was missed. */
  newestOnly: boolean;
};

export type Command =
  | { kind: "pong" }
  | { kind: "connect"; id: number }
  | {
      kind: "subscribe";
      id: number;
      channel: string;
      since: StreamPosition | null;
      /** Null: what it asks for is not to be had. */
      options: SubscribeOptions | null;
    }
  | { kind: "unsubscribe"; id: number; channel: string }
  | {
      kind: "history";
      id: number;
      channel: string;
      /** Below 0: all there are. */
      limit: number;
      since: StreamPosition | null;
      reverse: boolean;
    }
  | { kind: "ping"; id: number }
  /** `id` is 0 for one that wants no answer. */
  | { kind: "other"; id: number };

type Fields = Record<string, unknown>;

/** Commands that nothing is offered for. */
const others = "publish presence presence_stats rpc send refresh sub_refresh".split(" ");
const ID_MAX = 0xffff_ffff;

/** One line of a frame; null: malformed. */
export function parseCommand(line: string): Command | null {
  let command: unknown;
  try {
    command = JSON.parse(line);
  } catch {
    return null;
  }
  if (!isFields(command)) return null;
  const { id = 0, connect, subscribe, unsubscribe, history, ping } = command;
  if (!isWhole(id, ID_MAX)) return null;
  if (id === 0) {
    if (isFields(command.send)) return { kind: "other", id };
    return Object.keys(command).length === 0 ? { kind: "pong" } : null;
  }
  if (connect !== undefined) return isFields(connect) ? { kind: "connect", id } : null;
  if (subscribe !== undefined) return isFields(subscribe) ? parseSubscribe(id, subscribe) : null;
  if (unsubscribe !== undefined) {
    if (!isFields(unsubscribe) || !isText(unsubscribe.channel)) return null;
    return { kind: "unsubscribe", id, channel: unsubscribe.channel ?? "" };
  }
  if (history !== undefined) return isFields(history) ? parseHistory(id, history) : null;
  if (ping !== undefined) return isFields(ping) ? { kind: "ping", id } : null;
  return others.some((name) => isFields(command[name])) ? { kind: "other", id } : null;
}

function parseSubscribe(id: number, fields: Fields): Command | null {
  const { channel, recover = false, data } = fields;
  if (!isText(channel) || typeof recover !== "boolean") return null;
  const since = parsePosition(fields);
  if (since === null) return null;
  const options = parseOptions(data);
  return { kind: "subscribe", id, channel: channel ?? "", since: recover ? since : null, options };
}

function parseHistory(id: number, fields: Fields): Command | null {
  const { channel, limit = 0, reverse = false, since } = fields;
  if (!isText(channel) || typeof reverse !== "boolean") return null;
  if (typeof limit !== "number" || !Number.isInteger(limit)) return null;
  if (since === undefined || since === null) {
    return { kind: "history", id, channel: channel ?? "", limit, since: null, reverse };
  }
  const from = isFields(since) ? parsePosition(since) : null;
  if (from === null) return null;
  return { kind: "history", id, channel: channel ?? "", limit, since: from, reverse };
}

/** Offset 0 and an empty epoch are left out by clients. */
function parsePosition({ epoch, offset = 0 }: Fields): StreamPosition | null {
  if (!isText(epoch) || !isWhole(offset, Number.MAX_SAFE_INTEGER)) return null;
  return { epoch: epoch ?? "", offset };
}

/** `data` of a subscribe command, or a query's parameters put the same way. */
export function parseOptions(data: unknown): SubscribeOptions | null {
  if (data === undefined || data === null) return { interval: 0, newestOnly: false };
  if (!isFields(data)) return null;
  const { interval = 0, recovery = "stream" } = data;
  if (typeof interval !== "number" || !(interval >= 0)) return null;
  if (interval > limits.riderIntervalMsMax) return null;
  if (recovery !== "stream" && recovery !== "cache") return null;
  return { interval, newestOnly: recovery === "cache" };
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isText = (value: unknown): value is string | undefined =>
  value === undefined || typeof value === "string";

const isWhole = (value: unknown, max: number): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max;

/** What a rider is told of one driver. */
export type Told = {
  /** JSON. */
  data: string;
  /** In the stream of the channel; 0 for channels without one. */
  offset: number;
  gone: boolean;
};

/** How a subscription begins. */
export type Start = {
  publications: Told[];
  /** Of channels that can be recovered. */
  position: StreamPosition | null;
  recovered: boolean;
  wasRecovering: boolean;
};

export function errorReply(id: number, name: ErrorName): string {
  return `{"id":${id},"error":${JSON.stringify(errors[name])}}`;
}

export function emptyReply(id: number, kind: "unsubscribe" | "ping"): string {
  return `{"id":${id},"${kind}":{}}`;
}

export function connectReply(id: number, client: string, version: string): string {
  const ping = limits.riderPingSeconds;
  const connect = { client, version: `milepost ${version}`, ping, pong: true };
  return JSON.stringify({ id, connect });
}

export function subscribeReply(id: number, start: Start): string {
  const { publications, position, recovered, wasRecovering } = start;
  const fields: string[] = [];
  if (position !== null) {
    const epoch = JSON.stringify(position.epoch);
    fields.push(`"recoverable":true,"positioned":true,"epoch":${epoch}`);
    if (position.offset > 0) fields.push(`"offset":${position.offset}`);
  }
  if (recovered) fields.push(`"recovered":true`);
  if (wasRecovering) fields.push(`"was_recovering":true`);
  if (publications.length > 0) fields.push(`"publications":[${publicationList(publications)}]`);
  return `{"id":${id},"subscribe":{${fields.join(",")}}}`;
}

export function historyReply(id: number, told: Told[], { epoch, offset }: StreamPosition): string {
  const list = `"publications":[${publicationList(told)}]`;
  return `{"id":${id},"history":{${list},"epoch":${JSON.stringify(epoch)},"offset":${offset}}}`;
}

export function publicationPush(channel: string, told: Told): string {
  return `{"push":{"channel":${JSON.stringify(channel)},"pub":${publication(told)}}}`;
}

export function unsubscribePush(channel: string): string {
  return JSON.stringify({ push: { channel, unsubscribe: INSUFFICIENT_STATE } });
}

const publicationList = (told: Told[]): string => told.map(publication).join(",");

const publication = ({ data, offset }: Told): string =>
  offset > 0 ? `{"data":${data},"offset":${offset}}` : `{"data":${data}}`;
