/**
 * Finds whole packets in what was read and passes each on once, in order. While it is blocked it
 * keeps what comes, and its socket is paused.
 *
 * Invariant: `#held` is not null exactly while blocked.
 */
import { Gathered } from "../../lib/gathered.ts";
import { limits } from "../../model/limits.ts";
import { bodyStart, PartialPacket, remainingLength } from "./packets.ts";

export interface PacketSink {
  /** The packet `b[start, end)`, its body from `body`; only valid during the call. */
  packet(b: Buffer, start: number, body: number, end: number): void;
  /** False when a packet that begins so may not come now; the sink has closed then. */
  allows(first: number): boolean;
  /** The largest packet that may come now. */
  readonly packetBytesMax: number;
  readonly isClosed: boolean;
  close(reason: string): void;
  pause(): void;
}

const NO_BYTES = Buffer.alloc(0);

export class PacketReader {
  readonly #sink: PacketSink;
  #rest: PartialPacket | null = null;
  #held: Gathered | null = null;

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  get blocked(): boolean {
    return this.#held !== null;
  }

  /** `b[0, end)` was read; it is only valid during the call. */
  read(b: Buffer, end: number): void {
    if (this.#held !== null) this.#hold(b, 0, end);
    else this.#parse(b, this.#rest === null ? 0 : this.#fill(b, end), end);
  }

  /** What follows waits, the packet `b[start, end)` before it. */
  block(b: Buffer = NO_BYTES, start = 0, end = 0): void {
    this.#held = new Gathered();
    this.#held.add(b, start, end);
    this.#sink.pause();
  }

  /** Takes what waited; true when nothing blocks any more. */
  unblock(): boolean {
    const held = this.#held;
    if (held === null) return false;
    this.#held = null;
    this.#parse(held.bytes, 0, held.length);
    return this.#held === null;
  }

  drop(): void {
    this.#rest = this.#held = null;
  }

  #parse(b: Buffer, from: number, end: number): void {
    const sink = this.#sink;
    let at = from;
    while (at < end && !sink.isClosed) {
      if (this.#held !== null) return this.#hold(b, at, end);
      const body = bodyStart(b, at, end);
      if (body < 0) return sink.close("malformed_length");
      if (!sink.allows(b[at])) return;
      const packetEnd = body === 0 ? 0 : body + remainingLength(b, at);
      if (packetEnd - at > sink.packetBytesMax) return sink.close("packet_too_large");
      if (body === 0 || packetEnd > end) {
        this.#rest = new PartialPacket(b, at, end);
        return;
      }
      sink.packet(b, at, body, packetEnd);
      at = packetEnd;
    }
  }

  /** Completes the packet that began in an earlier read; returns how much of `b` it took. */
  #fill(b: Buffer, end: number): number {
    const sink = this.#sink;
    const rest = this.#rest as PartialPacket;
    let at = 0;
    for (;;) {
      const { body, total } = rest;
      if (body < 0 || total > sink.packetBytesMax) {
        sink.close(body < 0 ? "malformed_length" : "packet_too_large");
        return end;
      }
      if (rest.length === total) {
        this.#rest = null;
        sink.packet(rest.bytes, 0, body, total);
        return at;
      }
      if (at === end) return end;
      at += rest.take(b, at, end);
    }
  }

  #hold(b: Buffer, at: number, end: number): void {
    const held = this.#held as Gathered;
    // a socket that is paused comes nowhere near; a WebSocket cannot be paused
    if (held.length + end - at > limits.wsUnansweredBytesMax) return this.#sink.close("backlog");
    held.add(b, at, end);
    this.#sink.pause();
  }
}
