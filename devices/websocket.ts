import { WebSocket } from "ws";
import type { RawData } from "ws";
import { acceptMsMax, silentMsMax, windowBytes, windowMessages } from "./link.ts";
import type { Link } from "./link.ts";
import type { Outbox } from "./outbox.ts";
import { Redial } from "./redial.ts";
import type { Gate } from "./redial.ts";
import type { Tally } from "./tally.ts";

/** `{"ack":n,"rejected":[{"i","reason"}]}` or `{"nack":n,"reason","retryAfter"}`. */
type Answer = {
  ack?: number;
  rejected?: { i: number; reason: string }[];
  nack?: number;
  reason?: string;
  retryAfter?: number;
};

/**
 * WebSocket ingest: a text frame holds a ping or an array of them and is answered by one frame.
 * Answers come in the order of the frames and carry their ordinal on this connection, from 1.
 */
export class WebSocketLink implements Link {
  readonly #outbox: Outbox;
  readonly #tally: Tally;
  readonly #redial: Redial;
  readonly #url: string;
  #socket: WebSocket | null = null;
  #open = false;
  /** Ordinal of the frame answered last. */
  #answered = 0;
  #retryAfterMs = 0;
  #readMs = 0;
  #askedMs = 0;

  constructor(outbox: Outbox, tally: Tally, gate: Gate, url: string) {
    this.#outbox = outbox;
    this.#tally = tally;
    this.#redial = new Redial(gate, () => this.#dial());
    this.#url = `${url}?driver=${encodeURIComponent(outbox.driver)}`;
  }

  encode(payload: Uint8Array, length: number): Buffer {
    const frame = Buffer.allocUnsafe(length);
    frame.set(length === payload.length ? payload : payload.subarray(0, length));
    return frame;
  }

  encodeEvent(): null {
    return null;
  }

  start(): void {
    this.#redial.start();
  }

  pump(): void {
    const socket = this.#socket;
    if (socket === null || !this.#open) return;
    const outbox = this.#outbox;
    for (let message = outbox.peek(); message !== undefined; message = outbox.peek()) {
      if (outbox.inFlight >= windowMessages || outbox.bytesInFlight > windowBytes) break;
      socket.send(message.bytes, textFrame);
      this.#tally.departed(message);
      outbox.departed();
      if (this.#askedMs <= this.#readMs) this.#askedMs = performance.now();
    }
  }

  tick(nowMs: number): void {
    const silent = this.#askedMs > this.#readMs && nowMs - this.#askedMs > silentMsMax;
    if (!this.#open || !silent) return;
    this.#tally.trouble = "WebSocket: no answer";
    this.#socket?.terminate();
  }

  stop(): void {
    this.#redial.stop();
    if (this.#open) this.#socket?.close(1000);
    else this.#socket?.terminate();
  }

  abort(): void {
    this.#socket?.terminate();
  }

  #dial(): void {
    const socket = new WebSocket(this.#url, {
      perMessageDeflate: false,
      handshakeTimeout: acceptMsMax,
      skipUTF8Validation: true,
    });
    this.#socket = socket;
    socket.on("open", () => this.#opened());
    socket.on("message", (data) => this.#read(data));
    socket.on("error", (error) => this.#tally.troubled("WebSocket", error));
    socket.on("close", (code) => this.#closed(code));
  }

  #opened(): void {
    this.#open = true;
    this.#answered = 0;
    this.#retryAfterMs = 0;
    this.#readMs = performance.now();
    this.#tally.connected++;
    this.#redial.opened();
    this.pump();
  }

  #closed(code: number): void {
    if (this.#open) {
      this.#tally.connected--;
      if (code > 1001) this.#tally.trouble = `WebSocket: closed by the gateway, ${code}`;
    }
    this.#socket = null;
    this.#open = false;
    this.#outbox.rewind();
    this.#redial.lost(this.#retryAfterMs);
  }

  #read(data: RawData): void {
    this.#readMs = performance.now();
    const answer = parse(data);
    if (answer === null) return;
    if (answer.nack !== undefined) {
      // All from this frame on is to be sent again; the gateway closes the connection next.
      this.#tally.trouble = `WebSocket: nack, ${answer.reason ?? "no reason"}`;
      this.#retryAfterMs = (answer.retryAfter ?? 0) * 1000;
      return;
    }
    if (answer.ack === undefined) return;
    if (answer.ack !== this.#answered + 1 || this.#outbox.inFlight === 0) {
      this.#tally.trouble = `WebSocket: ack ${answer.ack} where ${this.#answered + 1} was due`;
      this.#socket?.terminate();
      return;
    }
    this.#answered++;
    const message = this.#outbox.settleOldest()!;
    this.#redial.proven();
    const rejected = answer.rejected ?? [];
    const refused = rejected.length === 0 ? null : new Set(rejected.map((row) => row.i));
    this.#tally.answered(this.#outbox, message, refused);
    this.pump();
  }
}

const textFrame = { binary: false };

function parse(data: RawData): Answer | null {
  try {
    return JSON.parse((data as Buffer).toString());
  } catch {
    return null;
  }
}
