/**
 * One client connection: frames in, answers out, in the order of the requests.
 *
 * A request begins when the one before it has been answered, as in Kafka's own broker; only a
 * handler that `overlaps` (Produce) runs beside others of its kind. While a request must wait, at
 * most `unreadBytesMax` of what follows are taken off the socket, so that a client that goes away
 * is noticed and one that floods is not read. No request begins while the client does not read its
 * answers: a frozen one holds one answer, and is closed in time.
 */
import type { Socket } from "node:net";
import { limits } from "../model/limits.ts";
import { Malformed, Reader } from "../wire/reader.ts";
import { Writer } from "../wire/writer.ts";
import { handlers } from "./apis.ts";
import type { Context, Handler, Peer } from "./handler.ts";
import { answerUnknownVersion } from "./handlers/18-api-versions.ts";
import type { ServerMetrics } from "./metrics.ts";
import type { Services } from "./services.ts";

const SIZE_BYTES = 4;
const HEADER_BYTES_MIN = 8;
const API_VERSIONS = 18;

/** In the order of the requests; `pieces` null: not answered yet. */
type Slot = { pieces: readonly Uint8Array[] | null; handler: Handler | null; startedMs: number };

export class Connection {
  readonly #socket: Socket;
  readonly #services: Services;
  readonly #metrics: ServerMetrics;
  readonly #peer: Peer;
  readonly #closed = new AbortController();
  readonly #onClosed: () => void;
  #chunks: Buffer[] = [];
  /** Bytes in `#chunks`. */
  #have = 0;
  readonly #slots: Slot[] = [];
  #blocked = false;
  #draining = false;
  /** When bytes last moved in either direction, and when the half-received frame began. */
  #activeMs: number;
  #frameSinceMs = 0;
  #written = 0;

  constructor(
    socket: Socket,
    services: Services,
    metrics: ServerMetrics,
    advertised: { host: string; port: number },
    onClosed: () => void,
  ) {
    this.#socket = socket;
    this.#services = services;
    this.#metrics = metrics;
    this.#onClosed = onClosed;
    this.#activeMs = services.now();
    this.#peer = {
      host: socket.remoteAddress ?? "",
      advertised,
      closed: this.#closed.signal,
      autoCreated: { sinceMs: 0, topics: 0 },
    };
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#data(chunk));
    socket.on("drain", () => {
      this.#blocked = false;
      this.#advance();
    });
    socket.on("end", () => this.close());
    socket.on("error", () => {});
    socket.on("close", () => this.#end());
  }

  /** Bytes of requests that are not whole yet. */
  get unread(): number {
    return this.#have;
  }

  get idle(): boolean {
    return this.#slots.length === 0 && !this.#blocked;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** No request begins any more; closes once those that did are answered. */
  drain(): void {
    this.#draining = true;
    if (this.idle) this.close();
  }

  /** Closes a connection that has stalled or that nobody uses. */
  tick(now: number): void {
    const { bytesWritten } = this.#socket;
    const flushed = bytesWritten - this.#socket.writableLength;
    if (flushed !== this.#written) {
      this.#written = flushed;
      this.#activeMs = now;
    }
    const silentMs = now - this.#activeMs;
    const waiting = this.#slots.length > 0;
    if (this.#blocked && silentMs > limits.kafkaStalledMsMax) this.#refuse("reads no answers");
    else if (!waiting && this.#have > 0 && now - this.#frameSinceMs > limits.kafkaStalledMsMax) {
      this.#refuse("half a request");
    } else if (!waiting && silentMs > limits.kafkaIdleMsMax) this.close();
  }

  #data(chunk: Buffer): void {
    this.#activeMs = this.#services.now();
    if (this.#have === 0) this.#frameSinceMs = this.#activeMs;
    this.#chunks.push(chunk);
    this.#have += chunk.length;
    this.#metrics.received.value += chunk.length;
    this.#advance();
  }

  /** Begins every request that is whole and may begin. */
  #advance(): void {
    while (!this.#socket.destroyed && !this.#blocked && !this.#draining) {
      const size = this.#frameSize();
      if (size === null || this.#have < SIZE_BYTES + size) break;
      const bytes = this.#peek(SIZE_BYTES + size);
      const key = bytes.readInt16BE(SIZE_BYTES);
      const handler = handlers.get(key) ?? null;
      if (!this.#mayBegin(handler)) break;
      this.#consume(SIZE_BYTES + size);
      this.#frameSinceMs = this.#activeMs;
      this.#begin(handler, new Reader(bytes, SIZE_BYTES, SIZE_BYTES + size, limits.kafkaItemsMax));
    }
    if (this.#socket.destroyed) return;
    // a whole request that may not begin yet, or answers that are not read
    const waits = this.#blocked || this.#slots.length > 0;
    if (waits && this.#have > limits.kafkaUnreadBytesMax) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  /** Of the next frame; null: not known yet. Closes on one that cannot be. */
  #frameSize(): number | null {
    if (this.#have < SIZE_BYTES) return null;
    const size = this.#peek(SIZE_BYTES).readInt32BE(0);
    if (size >= HEADER_BYTES_MIN && size <= limits.kafkaRequestBytesMax) return size;
    this.#refuse(`a request of ${size} bytes`);
    return null;
  }

  /** The first `length` bytes as one; they stay. */
  #peek(length: number): Buffer {
    if (this.#chunks[0].length < length) {
      let at = 0;
      let have = 0;
      while (have < length) have += this.#chunks[at++].length;
      this.#chunks.splice(0, at, Buffer.concat(this.#chunks.slice(0, at), have));
    }
    return this.#chunks[0];
  }

  #consume(length: number): void {
    this.#have -= length;
    const first = this.#chunks[0];
    if (first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
  }

  #mayBegin(handler: Handler | null): boolean {
    if (this.#slots.length === 0) return true;
    if (handler === null || !handler.overlaps) return false;
    if (this.#slots.length >= limits.kafkaRequestsInFlightMax) return false;
    return this.#slots.every((slot) => slot.handler === handler);
  }

  #begin(handler: Handler | null, request: Reader): void {
    const key = request.int16();
    const version = request.int16();
    const correlationId = request.int32();
    const { from, to } = handler?.api.versions ?? { from: 0, to: -1 };
    if (handler === null || ((version < from || version > to) && key !== API_VERSIONS)) {
      this.#metrics.unsupported(key, version);
      this.#refuse(`API ${key} version ${version} is not served`);
      return;
    }
    const slot: Slot = { pieces: null, handler, startedMs: performance.now() };
    this.#slots.push(slot);
    const response = new Writer();
    response.int32(0);
    response.int32(correlationId);
    if (version < from || version > to) {
      answerUnknownVersion(response);
      this.#answer(slot, response, true);
      return;
    }
    const flexible = version >= handler.api.flexibleFrom;
    let context: Context;
    try {
      const length = request.int16();
      const clientId = length < 0 ? null : request.utf8(length);
      if (flexible) request.skipTags();
      context = { services: this.#services, peer: this.#peer, version, clientId };
    } catch (error) {
      this.#failed(handler, version, error);
      return;
    }
    if (flexible && key !== API_VERSIONS) response.uvarint(0);
    handler.handle(request, response, context).then(
      (answered) => this.#answer(slot, response, answered),
      (error: unknown) => this.#failed(handler, version, error),
    );
  }

  #failed({ api }: Handler, version: number, error: unknown): void {
    if (error instanceof Malformed) {
      this.#refuse(`${api.name} version ${version}: ${error.message}`);
      return;
    }
    if (this.#socket.destroyed) return;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#refuse(`${api.name} version ${version} failed: ${text}`);
  }

  #answer(slot: Slot, response: Writer, answered: boolean): void {
    if (answered) response.setInt32(0, response.length - SIZE_BYTES);
    slot.pieces = answered ? response.pieces() : [];
    this.#metrics.answered(slot.handler, (performance.now() - slot.startedMs) / 1000);
    if (this.#socket.destroyed) return;
    this.#activeMs = this.#services.now();
    this.#socket.cork();
    while (this.#slots.length > 0 && this.#slots[0].pieces !== null) {
      for (const piece of this.#slots[0].pieces) {
        this.#metrics.sent.value += piece.length;
        if (!this.#socket.write(piece)) this.#blocked = true;
      }
      this.#slots.shift();
    }
    this.#socket.uncork();
    if (this.#draining && this.#slots.length === 0) this.#socket.end();
    this.#advance();
  }

  /** A client that breaks the protocol is closed; nobody else notices. */
  #refuse(reason: string): void {
    this.#metrics.refused.value++;
    this.#services.report(`kafka: closed ${this.#peer.host}:${this.#socket.remotePort}: ${reason}`);
    this.close();
  }

  #end(): void {
    this.#closed.abort();
    this.#chunks = [];
    this.#have = 0;
    this.#onClosed();
  }
}
