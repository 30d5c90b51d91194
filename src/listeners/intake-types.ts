import type { DriverMemory } from "../codec/driver-memory.ts";
import type { ErrorCode } from "../model/errors.ts";

/**
 * What a way in (MQTT lane, WebSocket, HTTP) sees of the worker's intake, and of the claims that
 * keep one live connection per device across workers.
 */

export type Transport = "mqtt" | "ws" | "http";
export type Dialect = "native" | "owntracks" | "osmand";

export type Rejection = { i: number; reason: ErrorCode };

export type FrameResult = {
  /** Pings that are in the log. */
  accepted: number;
  /** The others, by their place in the frame, ascending; they are in `rejects`. */
  rejected: Rejection[];
  /** One entry per ping in frame order: [partition, offset] in `positions`, null where rejected. */
  p: ([number, number] | null)[];
};

export type Source = {
  transport: Transport;
  dialect: Dialect;
  /** Identity of the connection or request; null: each ping must carry its id. */
  driver: string | null;
  /** `driver` in UTF-8. */
  identity: Uint8Array | null;
  /** Last fixes seen on this connection, for the flag `jump`; null where there is no connection. */
  memory: DriverMemory | null;
};

/**
 * Called exactly once per body, never before the call that handed the body over has returned,
 * and in the order of those calls. Either `result`, when everything is at its durability level,
 * or `refusal`: nothing of the body is promised. `too_large` (more than `framePingsMax` pings)
 * is for ever; any other refusal may be sent again.
 */
export type Done = (result: FrameResult | null, refusal: ErrorCode | null) => void;

export interface Intake {
  /**
   * Takes all pings of a body; `bytes` are read before it returns. More pings than a frame may
   * hold: `done(null, "too_large")` at once, nothing is stored, and the sender is cut off.
   */
  frame(bytes: Uint8Array, source: Source, ndjson: boolean, done: Done): void;
  /** The same for a ping that a dialect has already turned into an object. */
  object(ping: Record<string, unknown>, source: Source, done: Done): void;
  /** Untouched JSON for `events` (OwnTracks `_type` other than location). */
  event(bytes: Uint8Array, source: Source, done: Done): void;
  /** A body that cannot be a ping at all goes to `rejects`. */
  reject(bytes: Uint8Array, source: Source, reason: ErrorCode, done: Done): void;
  /** disk_full, uplink, draining: new work is answered with it at once. */
  readonly refusing: ErrorCode | null;
  /** The log is behind: HTTP bodies and MQTT sockets are not read. */
  readonly paused: boolean;
  onResume(listener: () => void): void;
}

/** Says that nothing of a holder is pending; `carried`: QoS 2 packet ids for its successor. */
export type Release = (carried?: number[]) => void;

/** A connection that stands for a device. */
export interface Holder {
  /**
   * The earlier holder has closed, and what it handed over is in the log or refused.
   * `needsBroker`: the client has a session there. `carried`: what the earlier holder left.
   */
  granted(needsBroker: boolean, carried: number[]): void;
  /** A newer one came: stop reading, close, call `released` when nothing of yours is pending. */
  taken(released: Release): void;
}

/** One live connection per MQTT client id or WebSocket `driver=`, across workers. */
export interface Claims {
  claim(kind: "client" | "driver", id: string, holder: Holder): void;
  release(holder: Holder, carried?: number[]): void;
}
