/**
 * Riders over WebSocket, all of a thread: what they are written within a turn leaves in one write
 * each, and one clock pings them, a twenty-fifth of them every second.
 */
import { type Head, readHead } from "../lib/http-guard.ts";
import type { UWS } from "../lib/uws.ts";
import type { Live } from "../live/live.ts";
import { limits } from "../model/limits.ts";
import { Client, type ClientData } from "./client.ts";
import type { RiderHttp } from "./http.ts";
import type { Outbox, OutboxServices } from "./outbox.ts";
import { Pacer } from "./pacer.ts";
import type { Pressure } from "./pressure.ts";
import type { RidersOptions } from "./server.ts";
import { StreamMetrics } from "./stream-metrics.ts";
import { WebOrigins } from "./web-origin.ts";

const SECOND_MS = 1000;

export class RiderSockets implements OutboxServices {
  readonly live: Live;
  readonly pressure: Pressure;
  readonly metrics: StreamMetrics;
  readonly pacer = new Pacer(() => this.#write());
  /** Clients by the second in which they are pinged. */
  readonly #slots = Array.from({ length: limits.riderPingSeconds }, () => new Set<Client>());
  #second = 0;
  #due: Outbox[] = [];
  readonly #clock: NodeJS.Timeout;

  readonly #origins: WebOrigins;
  #isDraining = false;

  /** A connection that was one of ours has ended. */
  onClosed: () => void = () => {};

  constructor({ live, registry, allowOrigin, host }: RidersOptions, pressure: Pressure) {
    this.live = live;
    this.pressure = pressure;
    this.#origins = new WebOrigins(allowOrigin, host);
    this.metrics = new StreamMetrics(registry, live.drivers, "websocket");
    live.hub.onFlushed = () => this.#write();
    this.#clock = setInterval(() => this.#tick(), SECOND_MS);
  }

  /** `http` answers upgrades that cannot be. */
  behavior(http: RiderHttp): UWS.WebSocketBehavior<ClientData> {
    return {
      upgrade: (res, req, context) => {
        const head = readHead(req);
        const fault = this.#fault(head);
        if (fault === null) {
          const key = req.getHeader("sec-websocket-key");
          // no subprotocol: JSON it is; extensions are off
          return res.upgrade({ client: new Client(this) }, key, "", "", context);
        }
        const { status, code, text } = fault;
        const exchange = http.begin(res, head, "websocket");
        if (status === 426) exchange.error(status, code, text, [["Sec-WebSocket-Version", "13"]]);
        else exchange.errorAndClose(status, code, text);
      },
      // a frame over the limit is read, so that its sender is told why; uWS cuts the connection
      // without a word at more than this
      maxPayloadLength: 4 * limits.riderFrameBytesMax,
      compression: 0,
      // the protocol's pings are its own
      sendPingsAutomatically: false,
      idleTimeout: limits.riderIdleSeconds,
      // the client is closed before anything is dropped
      maxBackpressure: limits.riderUnsentBytesHardMax,
      open: (ws) => {
        const { client } = ws.getUserData();
        this.metrics.clients.value++;
        this.#slots[this.#second].add(client);
        client.slot = this.#second;
        client.opened(ws);
      },
      message: (ws, message) => ws.getUserData().client.message(Buffer.from(message).toString()),
      ping: (ws) => ws.getUserData().client.ponged(),
      drain: (ws) => ws.getUserData().client.drained(),
      close: (ws) => {
        const { client } = ws.getUserData();
        this.metrics.clients.value--;
        this.#slots[client.slot].delete(client);
        client.closed();
        this.onClosed();
      },
    };
  }

  due(outbox: Outbox): void {
    if (this.#due.push(outbox) === 1) queueMicrotask(() => this.#write());
  }

  /** Everybody is told to come back, here or to another. */
  drain(): void {
    this.#isDraining = true;
    for (const slot of this.#slots) for (const client of slot) client.close("shutdown");
  }

  close(): void {
    clearInterval(this.#clock);
    this.pacer.close();
  }

  #fault(head: Head): { status: number; code: string; text: string } | null {
    const refused = (status: number, code: string, text: string) => ({ status, code, text });
    if (head.fault !== null) return refused(400, "bad_request", head.fault);
    if (head.contentLength > 0 || head.chunked) {
      return refused(400, "bad_request", "an upgrade has no body");
    }
    if (head.websocketVersion !== "13") {
      return refused(426, "upgrade_required", "WebSocket version 13 is spoken here");
    }
    const origin = this.#origins.judge(head);
    if (origin === "misnamed") {
      return refused(403, "foreign_host", "this is not a name of this server");
    }
    if (origin === "foreign") {
      return refused(403, "foreign_origin", "this origin is not allowed");
    }
    return this.#isDraining ? refused(503, "draining", "the gateway is stopping") : null;
  }

  #write(): void {
    const due = this.#due;
    if (due.length === 0) return;
    this.#due = [];
    for (const outbox of due) outbox.write();
    this.metrics.settle(this.live.now());
  }

  /** Counts its own seconds: a stall closes nobody before their pongs were read. */
  #tick(): void {
    const { riderPingSeconds, riderPongSeconds } = limits;
    this.#second = (this.#second + 1) % riderPingSeconds;
    const pinged = (this.#second + riderPingSeconds - riderPongSeconds) % riderPingSeconds;
    for (const client of this.#slots[pinged]) client.checkPong();
    for (const client of this.#slots[this.#second]) client.ping();
    this.pressure.sweep(performance.now());
  }
}
