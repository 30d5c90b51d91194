/** A driver's connection to the gateway, whatever its transport. Keeps itself connected. */
export interface Link {
  /** Makes of a payload (one ping or an array, as JSON) what this transport sends. */
  encode(payload: Uint8Array, length: number): Buffer;
  /** The same of an event, as JSON; null where the transport takes none. */
  encodeEvent(payload: Uint8Array): Buffer | null;
  /** Begins to connect. */
  start(): void;
  /** Sends what waits, as far as the window allows. */
  pump(): void;
  /** Called about every second: keep-alive, and connections that have gone silent. */
  tick(nowMs: number): void;
  /** Closes in good order and stays closed. */
  stop(): void;
  /** Closes at once what `stop` has not closed. */
  abort(): void;
}

/** Unanswered messages and bytes of a driver; a gateway must allow 256 frames and 1 MiB. */
export const windowMessages = 64;
export const windowBytes = 512 * 1024;

/** A connection that owes us an answer and says nothing for so long is given up. */
export const silentMsMax = 60_000;
/** From dialling to being accepted. */
export const acceptMsMax = 30_000;
