import { Gathered } from "../lib/gathered.ts";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { Exchange } from "../lib/http-exchange.ts";
import { refuse } from "./exchange.ts";
import type { Head } from "../lib/http-guard.ts";
import type { Intake } from "./intake-types.ts";

/** Handed a whole body, which is valid only during the call. */
export type TakeBody = (bytes: Uint8Array) => void;

/** A body that has begun to arrive. */
type Reading = {
  exchange: Exchange;
  /** Empty once it is too large. */
  body: Gathered;
  bytes: number;
  startedMs: number;
  lastMs: number;
  paused: boolean;
};

/** A body that was complete while the intake was paused. */
type Held = { exchange: Exchange; bytes: Uint8Array; take: TakeBody; sinceMs: number };

const idleMsMax = 10_000;
const totalMsMax = 30_000;
const sweepMs = 1000;
/** What is over the limit is read to its end and answered 413, up to here; then it is cut. */
const discardBytesMax = 16 * limits.frameBytesMax;
/** Complete bodies that may wait for the intake; beyond it they are refused. */
const heldBytesMax = 16 * 1024 * 1024;

/**
 * Reads request bodies whole. Nearly all arrive with their head in one read and are handed over
 * where they lie; others are copied chunk by chunk. While the intake is paused, bodies that are
 * incomplete are not read (`res.pause`) and complete ones wait, in order, within a bound.
 */
export class HttpBodies {
  readonly #intake: Intake;
  readonly #readings = new Set<Reading>();
  #held: Held[] = [];
  #heldBytes = 0;
  #draining: ErrorCode | null = null;
  readonly #timer: NodeJS.Timeout;

  constructor(intake: Intake) {
    this.#intake = intake;
    intake.onResume(() => this.#resume());
    this.#timer = setInterval(() => this.#sweep(Date.now()), sweepMs);
    this.#timer.unref();
  }

  read(exchange: Exchange, head: Head, take: TakeBody): void {
    if (head.contentLength > discardBytesMax) {
      exchange.errorAndClose(413, "too_large", `a body holds at most ${limits.frameBytesMax} B`);
      return;
    }
    let reading: Reading | null = null;
    exchange.onData((chunk, isLast) => {
      if (exchange.over) {
        if (reading !== null) this.#readings.delete(reading);
        return;
      }
      if (reading === null) {
        if (isLast) {
          this.#complete(exchange, new Uint8Array(chunk), true, take);
          return;
        }
        const nowMs = Date.now();
        reading = {
          exchange,
          body: new Gathered(),
          bytes: 0,
          startedMs: nowMs,
          lastMs: nowMs,
          paused: false,
        };
        this.#readings.add(reading);
      }
      this.#append(reading, chunk);
      if (isLast) {
        this.#readings.delete(reading);
        if (reading.bytes > limits.frameBytesMax) refuse(exchange, "too_large");
        else this.#complete(exchange, reading.body.bytes, false, take);
      } else if (this.#intake.paused && !reading.paused) {
        reading.paused = true;
        exchange.pause();
      }
    });
  }

  /** Refuses what is being read, what waits, and what comes. */
  drain(reason: ErrorCode): void {
    this.#draining = reason;
    for (const { exchange, paused } of this.#readings) {
      // the answer ends the request, not the pause of its connection
      if (paused) exchange.resume();
      refuse(exchange, reason);
    }
    for (const { exchange } of this.#held) refuse(exchange, reason);
    this.#readings.clear();
    this.#held = [];
    this.#heldBytes = 0;
  }

  close(): void {
    clearInterval(this.#timer);
    this.drain("shutdown");
  }

  /** A backlog is no reason while it can be waited out here. */
  get refusing(): ErrorCode | null {
    const { refusing, paused } = this.#intake;
    if (this.#draining !== null) return this.#draining;
    return refusing === "backlog" && paused ? null : refusing;
  }

  #append(reading: Reading, chunk: ArrayBuffer): void {
    reading.lastMs = Date.now();
    reading.bytes += chunk.byteLength;
    if (reading.bytes <= limits.frameBytesMax) {
      reading.body.add(new Uint8Array(chunk), 0, chunk.byteLength);
      return;
    }
    reading.body = new Gathered();
    if (reading.bytes > discardBytesMax) {
      this.#readings.delete(reading);
      const message = `a body holds at most ${limits.frameBytesMax} B`;
      reading.exchange.errorAndClose(413, "too_large", message);
    }
  }

  #complete(exchange: Exchange, bytes: Uint8Array, isBorrowed: boolean, take: TakeBody): void {
    const { refusing } = this;
    if (bytes.length > limits.frameBytesMax) {
      refuse(exchange, "too_large");
    } else if (refusing !== null) {
      refuse(exchange, refusing);
    } else if (!this.#intake.paused && this.#held.length === 0) {
      take(bytes);
    } else if (this.#heldBytes + bytes.length > heldBytesMax) {
      refuse(exchange, "backlog");
    } else {
      this.#heldBytes += bytes.length;
      const own = isBorrowed ? bytes.slice() : bytes;
      this.#held.push({ exchange, bytes: own, take, sinceMs: Date.now() });
    }
  }

  #resume(): void {
    for (const reading of this.#readings) {
      if (!reading.paused) continue;
      reading.paused = false;
      reading.lastMs = Date.now();
      reading.exchange.resume();
    }
    let i = 0;
    while (i < this.#held.length && !this.#intake.paused) {
      const held = this.#held[i++];
      this.#heldBytes -= held.bytes.length;
      if (held.exchange.over) continue;
      if (this.refusing !== null) refuse(held.exchange, this.refusing);
      else held.take(held.bytes);
    }
    this.#held.splice(0, i);
  }

  #sweep(nowMs: number): void {
    for (const reading of this.#readings) {
      const { exchange, lastMs, startedMs } = reading;
      if (exchange.over) {
        this.#readings.delete(reading);
      } else if (reading.paused) {
        // not read by our own will: this clock stands still
        reading.startedMs += sweepMs;
      } else if (nowMs - lastMs > idleMsMax || nowMs - startedMs > totalMsMax) {
        this.#readings.delete(reading);
        exchange.errorAndClose(408, "timeout", "the body did not arrive in time");
      } else {
        // uWS cuts a body that is slower than 16 KB/s without an answer; a phone at the edge of
        // its cell may be, so its clock is restarted and only ours counts
        exchange.pause();
        exchange.resume();
      }
    }
    while (this.#held.length > 0 && nowMs - this.#held[0].sinceMs > limits.ackMsMax) {
      const held = this.#held.shift()!;
      this.#heldBytes -= held.bytes.length;
      refuse(held.exchange, "timeout");
    }
  }
}
