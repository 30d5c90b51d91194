/**
 * One client connection: requests in, answers out, in the order of the requests.
 *
 * A request begins when the one before it has been answered, as in Kafka's own broker, but for
 * those that overlap (`in-flight.ts`). None begins while the client does not read its answers, so
 * that a frozen one holds one answer. A request that may not begin stops the reading once
 * `kafkaUnreadBytesMax` are here: until then a client that goes away is noticed.
 *
 * After the client's FIN, what it sent is answered, and the connection closes.
 */
import type { Socket } from "node:net";
import { limits } from "../model/limits.ts";
import { Malformed, Reader } from "../wire/reader.ts";
import { Writer } from "../wire/writer.ts";
import { plainAddress } from "./addresses.ts";
import { type Context, type Handler, Hangup, type Peer } from "./handler.ts";
import { answerUnknownVersion } from "./handlers/18-api-versions.ts";
import { InFlight, type Slot } from "./in-flight.ts";
import { Incoming } from "./incoming.ts";
import type { Reason, ServerMetrics } from "./metrics.ts";
import { Outgoing } from "./outgoing.ts";
import type { Services } from "./services.ts";

const SIZE_BYTES = 4;
const API_VERSIONS = 18;
/** Requests that begin in one turn of the loop: the other connections have theirs. */
const TURN_REQUESTS = 32;
/** What an item of a decoded request costs, besides its bytes. */
const ITEM_BYTES = 100;
/** After the last answer, before the connection is cut: an answer must not be lost to a reset. */
const LINGER_MS = 1000;

/** What connections share. */
export type Host = {
  readonly services: Services;
  readonly metrics: ServerMetrics;
  readonly handlers: ReadonlyMap<number, Handler>;
  /** Memory of all connections: requests, those of them that overlap and have begun, answers. */
  readonly held: { requests: number; begun: number; answers: number };
  /** `held` has changed: who holds too much is closed, who waits for room may go on. */
  settle(): void;
  /** There is no room in `held.begun`: calls `advance` when there is. */
  awaitRoom(connection: Connection): void;
  /** A connection was closed for `reason`. */
  refused(reason: Reason, line: string): void;
  fault(line: string): void;
};

export class Connection {
  readonly #socket: Socket;
  readonly #host: Host;
  readonly #peer: Peer;
  readonly #closed = new AbortController();
  readonly #incoming = new Incoming();
  readonly #outgoing: Outgoing;
  readonly #inFlight = new InFlight();
  /** Of this connection, in `Host.held`. */
  readonly #held = { requests: 0, begun: 0, answers: 0 };
  #turnRequests = 0;
  #turnEnds = false;
  #reading = true;
  #ended = false;
  #draining = false;
  #gone = false;
  /** When bytes last moved, or an answer was ready. */
  #activeMs: number;

  constructor(socket: Socket, host: Host, advertised: Peer["advertised"]) {
    const { now, buffers } = host.services;
    this.#socket = socket;
    this.#host = host;
    this.#activeMs = now();
    this.#outgoing = new Outgoing(
      socket,
      now,
      (bytes) => this.#sent(bytes),
      (piece) => buffers.giveBack(piece),
    );
    this.#peer = {
      host: plainAddress(socket.remoteAddress ?? ""),
      advertised,
      closed: this.#closed.signal,
      autoCreated: { sinceMs: 0, topics: 0 },
      answerBytesMax: () => Math.max(0, (limits.kafkaUnsentBytesAllMax - host.held.answers) >> 3),
    };
    socket.on("end", () => this.#end());
    socket.on("error", () => {});
    socket.on("close", () => this.close());
  }

  /** Memory of requests that are not answered. */
  get requestBytes(): number {
    return this.#held.requests;
  }

  /** Since when its answers have waited for the client; Infinity: none do. */
  get unreadSinceMs(): number {
    return this.#outgoing.unsent > 0 ? this.#outgoing.progressMs : Infinity;
  }

  /** The first `length` of `bytes`, until it returns. */
  data(bytes: Buffer, length: number): void {
    if (this.#gone || this.#draining) return;
    this.#activeMs = this.#host.services.now();
    this.#incoming.take(bytes, length, this.#activeMs);
    const { size, key } = this.#incoming;
    if (size > limits.kafkaSmallRequestBytesMax && key !== null) {
      const handler = this.#host.handlers.get(key);
      if (handler?.overlaps !== true) this.#incoming.refuse(`API ${key}, ${size} bytes`);
    }
    this.#host.metrics.received.value += length;
    this.advance();
  }

  close(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#incoming.clear();
    this.#outgoing.clear();
    this.#inFlight.clear();
    this.#account();
    this.#closed.abort();
    this.#socket.destroy();
    this.#host.settle();
  }

  /** Breaks the protocol, or holds too much: closed, and nobody else notices. */
  refuse(reason: Reason, why: string): void {
    if (this.#gone) return;
    this.#host.refused(reason, `closed ${this.#peer.host}:${this.#socket.remotePort}: ${why}`);
    this.close();
  }

  /** No request begins any more; closes once those that did are answered. */
  drain(): void {
    this.#draining = true;
    this.#incoming.clear();
    this.#closed.abort();
    this.advance();
  }

  /** Closes a connection that has stalled or that nobody uses. */
  tick(now: number): void {
    const { arriving, sinceMs } = this.#incoming;
    const silentMs = now - this.#activeMs;
    const stalledMs = this.#draining ? LINGER_MS : limits.kafkaStalledMsMax;
    if (now - this.unreadSinceMs > stalledMs) {
      this.refuse("stalled", "reads no answers");
    } else if (arriving && this.#reading && silentMs > limits.kafkaStalledMsMax) {
      this.refuse("stalled", "half a request");
    } else if (arriving && this.#reading && now - sinceMs > limits.kafkaRequestMsMax) {
      this.refuse("stalled", "a request that comes too slowly");
    } else if (this.#ended && silentMs > limits.kafkaStalledMsMax) {
      this.close();
    } else if (this.#inFlight.count === 0 && silentMs > limits.kafkaIdleMsMax) {
      this.close();
    }
  }

  /** Begins every request that is whole and may begin; then reads on, or does not. */
  advance(): void {
    if (this.#gone) return;
    const { ready } = this.#incoming;
    while (ready.length > 0) {
      const handler = this.#host.handlers.get(ready[0].readInt16BE(0)) ?? null;
      if (!this.#mayBegin(handler, ready[0].length) || this.#isTurnOver()) break;
      const frame = this.#incoming.shift();
      this.#begin(handler, frame);
      if (this.#gone) return;
    }
    this.#account();
    this.#host.settle();
    if (this.#gone) return;
    const { broken } = this.#incoming;
    if (this.#inFlight.count > 0 || this.#outgoing.unsent > 0 || ready.length > 0) {
      this.#read(!this.#isFull());
    } else if (broken !== null) {
      this.refuse("size", broken);
    } else if (this.#ended) {
      this.close();
    } else if (this.#draining) {
      this.#linger();
    } else {
      this.#read(!this.#isFull());
    }
  }

  /** More would only wait. */
  #isFull(): boolean {
    const { broken, ready, key, size, held } = this.#incoming;
    if (broken !== null) return true;
    if (held <= limits.kafkaUnreadBytesMax) return false;
    if (ready.length > 0 || key === null) return true;
    return !this.#mayBegin(this.#host.handlers.get(key) ?? null, size);
  }

  #mayBegin(handler: Handler | null, bytes: number): boolean {
    if (this.#outgoing.unsent > limits.kafkaUnreadBytesMax) return false;
    if (!this.#inFlight.takes(handler, bytes)) return false;
    if (handler === null || !handler.overlaps) return true;
    const { begun } = this.#host.held;
    if (begun === 0 || begun + bytes <= limits.kafkaBegunBytesAllMax) return true;
    this.#host.awaitRoom(this);
    return false;
  }

  #isTurnOver(): boolean {
    if (this.#turnRequests++ === 0) {
      setImmediate(() => {
        this.#turnRequests = 0;
        if (this.#turnEnds) this.advance();
        this.#turnEnds = false;
      });
    }
    return (this.#turnEnds = this.#turnRequests > TURN_REQUESTS);
  }

  #read(on: boolean): void {
    if (on === this.#reading) return;
    this.#reading = on;
    // time in which nothing could come is nobody's fault
    this.#activeMs = this.#host.services.now();
    if (on) this.#socket.resume();
    else this.#socket.pause();
  }

  #begin(handler: Handler | null, frame: Buffer): void {
    const request = new Reader(frame, 0, frame.length, limits.kafkaItemsMax);
    const [key, version, correlationId] = [request.int16(), request.int16(), request.int32()];
    const { from, to } = handler?.api.versions ?? { from: 0, to: -1 };
    const served = version >= from && version <= to;
    if (handler === null || (!served && key !== API_VERSIONS)) {
      this.#host.metrics.unsupported(key, version);
      this.refuse("unsupported", `API ${key} version ${version} is not served`);
      return;
    }
    const slot = this.#inFlight.begin(handler);
    const response = new Writer();
    response.int32(0);
    response.int32(correlationId);
    if (!served) {
      answerUnknownVersion(response);
      this.#answer(slot, response, true);
      return;
    }
    try {
      const flexible = version >= handler.api.flexibleFrom;
      const context = this.#context(handler, version, readClientId(request, flexible));
      if (flexible && key !== API_VERSIONS) response.uvarint(0);
      handler.handle(request, response, context).then(
        (answered) => this.#answer(slot, response, answered),
        (error: unknown) => this.#failed(handler, version, error),
      );
    } catch (error) {
      this.#failed(handler, version, error);
      return;
    }
    this.#inFlight.weigh(slot, frame.length + request.items * ITEM_BYTES);
  }

  #context(handler: Handler, version: number, clientId: string | null): Context {
    const fault = (error: unknown): void => this.#fault(handler, version, error);
    return { services: this.#host.services, peer: this.#peer, version, clientId, fault };
  }

  #failed(handler: Handler, version: number, error: unknown): void {
    const name = `${handler.api.name} version ${version}`;
    if (error instanceof Malformed) this.refuse("malformed", `${name}: ${error.message}`);
    else if (error instanceof Hangup) this.refuse("unanswerable", `${name}: ${error.message}`);
    else {
      this.#fault(handler, version, error);
      this.refuse("failed", `${name}`);
    }
  }

  #fault(handler: Handler, version: number, error: unknown): void {
    // a wait that the closing ended, at whatever place
    if (this.#gone) return;
    this.#host.metrics.failed(handler);
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#host.fault(`${handler.api.name} version ${version} failed: ${text}`);
  }

  #answer(slot: Slot, response: Writer, answered: boolean): void {
    this.#host.metrics.answered(slot.handler, (performance.now() - slot.startedMs) / 1000);
    if (this.#gone) return;
    if (answered) response.setInt32(0, response.length - SIZE_BYTES);
    this.#activeMs = this.#host.services.now();
    const pieces = this.#inFlight.answer(slot, answered ? response.pieces() : []);
    if (pieces.length > 0) this.#outgoing.send(pieces);
    this.advance();
  }

  #sent(bytes: number): void {
    this.#host.metrics.sent.value += bytes;
    this.#activeMs = this.#host.services.now();
    this.advance();
  }

  #end(): void {
    this.#ended = true;
    this.#closed.abort();
    this.advance();
  }

  /** All is answered: the client closes, or is cut off. */
  #linger(): void {
    if (this.#socket.writableEnded) return;
    this.#socket.end();
    this.#read(true);
    setTimeout(() => this.close(), LINGER_MS).unref();
  }

  #account(): void {
    const [own, { held }] = [this.#held, this.#host];
    const requests = this.#incoming.held + this.#inFlight.other;
    held.requests += requests - own.requests;
    held.begun += this.#inFlight.overlapping - own.begun;
    held.answers += this.#outgoing.unsent - own.answers;
    own.requests = requests;
    own.begun = this.#inFlight.overlapping;
    own.answers = this.#outgoing.unsent;
  }
}

/** The header's last fields; the client id has no compact form. */
function readClientId(request: Reader, flexible: boolean): string | null {
  const length = request.int16();
  if (length < -1) throw new Malformed(`a client id of ${length} bytes`);
  const clientId = length === -1 ? null : request.utf8(length);
  if (flexible) request.skipTags();
  return clientId;
}
