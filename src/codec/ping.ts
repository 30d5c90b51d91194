/**
 * Bytes to a ping that may be stored. A ping in canonical form with nothing to flag is stored as
 * its own bytes and costs one scan; any other is parsed, picked by schema and written anew.
 *
 * One reader is used again and again. After `read()` its fields hold until the next: `value` and
 * `key` are ranges of the caller's buffer or of the reader's own, to be copied at once.
 */
import { isUtf8 } from "node:buffer";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { DriverMemory } from "./driver-memory.ts";
import { clampedFromMs, oldAfterMs } from "./fields.ts";
import { JUMP } from "./flags.ts";
import { isSound, type JsonObject, parseObject } from "./json.ts";
import { isDriverId, Rewrite } from "./rewrite.ts";
import { CanonicalScanner } from "./scan.ts";

const empty = new Uint8Array(0);

export class PingReader {
  /** Why the ping was not accepted, null when it was. The rest holds for accepted pings only. */
  reason: ErrorCode | null = null;
  /** The canonical JSON. */
  value: Uint8Array = empty;
  valueStart = 0;
  valueEnd = 0;
  /** The driver's id. */
  key: Uint8Array = empty;
  keyStart = 0;
  keyEnd = 0;
  /** As stored, ms. */
  ts = 0.5;
  lat = 0.5;
  lon = 0.5;
  /** Bits by position in `flagNames`. */
  flags = 0;

  readonly #scanner = new CanonicalScanner();
  readonly #rewrite = new Rewrite();
  /** UTF-8 is at most three bytes a UTF-16 unit. */
  readonly #valueBytes = Buffer.alloc(3 * limits.pingBytesMax);
  readonly #keyBytes = Buffer.alloc(3 * limits.driverIdBytesMax);
  #identity: Uint8Array | null = null;
  #identityText: string | null = null;

  /**
   * Reads the ping in `[start, end)`. `identity`: who the sender is, if that is known; `memory`:
   * of the connection, if pings are compared with the ones before. False: see `reason`.
   */
  read(
    bytes: Uint8Array,
    start: number,
    end: number,
    receivedMs: number,
    identity: Uint8Array | null,
    memory: DriverMemory | null,
  ): boolean {
    const s = this.#scanner;
    if (end - start <= limits.pingBytesMax && s.scan(bytes, start, end)) {
      const { ts, lat, lon, idStart, idEnd } = s;
      const ahead = ts - receivedMs;
      if (
        ahead < clampedFromMs &&
        ahead >= -oldAfterMs &&
        (lat !== 0 || lon !== 0) &&
        (identity === null || isRange(identity, bytes, idStart, idEnd)) &&
        (memory === null || !memory.jump(identity, bytes, idStart, idEnd, ts, lat, lon))
      ) {
        if (memory !== null) memory.keep(ts, lat, lon);
        this.reason = null;
        this.value = bytes;
        this.valueStart = start;
        this.valueEnd = end;
        this.key = bytes;
        this.keyStart = idStart;
        this.keyEnd = idEnd;
        this.ts = ts;
        this.lat = lat;
        this.lon = lon;
        this.flags = 0;
        return true;
      }
    }
    const ping = parseObject(bytes, start, end);
    if (ping === null) return this.#reject("bad_json");
    if (end - start > limits.pingBytesMax) return this.#reject("too_large");
    return this.#rewritten(ping, receivedMs, identity, memory);
  }

  /** The same for a ping that a dialect has made an object of. */
  readObject(
    ping: JsonObject,
    receivedMs: number,
    identity: Uint8Array | null,
    memory: DriverMemory | null,
  ): boolean {
    if (!isSound(ping)) return this.#reject("bad_json");
    return this.#rewritten(ping, receivedMs, identity, memory);
  }

  #rewritten(
    ping: JsonObject,
    receivedMs: number,
    identity: Uint8Array | null,
    memory: DriverMemory | null,
  ): boolean {
    const r = this.#rewrite;
    let text: string | null = null;
    if (identity !== null) {
      text = this.#textOf(identity);
      if (text === null) return this.#reject("bad_id");
    }
    if (!r.pick(ping, receivedMs, text)) return this.#reject(r.reason!);

    const key = this.#keyBytes;
    const keyEnd = key.write(r.id, 0);
    const { fix, lat, lon } = r;
    let { flags } = r;
    if (memory !== null && memory.jump(identity, key, 0, keyEnd, fix, lat, lon)) flags |= JUMP;
    const value = r.text(flags);
    if (value.length > limits.pingBytesMax) return this.#reject("too_large");
    const valueEnd = this.#valueBytes.write(value, 0);
    if (valueEnd > limits.pingBytesMax) return this.#reject("too_large");
    if (memory !== null) memory.keep(fix, lat, lon);

    this.reason = null;
    this.value = this.#valueBytes;
    this.valueStart = 0;
    this.valueEnd = valueEnd;
    this.key = key;
    this.keyStart = 0;
    this.keyEnd = keyEnd;
    this.ts = r.ts;
    this.lat = lat;
    this.lon = lon;
    this.flags = flags;
    return true;
  }

  /** An identity is used for many pings: its text is made once. Null when it cannot be an id. */
  #textOf(identity: Uint8Array): string | null {
    if (identity !== this.#identity) {
      const text = isUtf8(identity) ? Buffer.from(identity).toString() : "";
      this.#identity = identity;
      this.#identityText = isDriverId(text) ? text : null;
    }
    return this.#identityText;
  }

  #reject(reason: ErrorCode): false {
    this.reason = reason;
    return false;
  }
}

function isRange(word: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (word.length !== end - start) return false;
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word[i]) return false;
  return true;
}
