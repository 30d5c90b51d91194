import { DriverMemory } from "../codec/driver-memory.ts";
import type { UWS } from "../lib/uws.ts";
import type { Counter, Gauge, Registry } from "../metrics/registry.ts";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { IngestSocket, type IngestServices, type SocketData } from "./ingest-socket.ts";
import type { Claims, Intake, Source } from "./intake-types.ts";

/** Why uWS itself closed a socket (it says so in the close event, not to the client). */
const protocolFaults = /^Received (invalid|too big)/;

/**
 * `/v1/ingest` as a WebSocket: a text frame is one ping or an array and gets one reply, in order.
 * Replies come in a burst when the log has answered; they are collected for the rest of that
 * turn and written once per socket.
 */
export class WebSocketIngest implements IngestServices {
  readonly intake: Intake;
  readonly claims: Claims;
  readonly #registry: Registry;
  readonly #connections: Gauge;
  readonly #closed = new Map<string, Counter>();
  /** Open, or closed with frames that the log has not answered yet. */
  readonly #sockets = new Set<IngestSocket>();
  #dirty: IngestSocket[] = [];
  #onEmpty: (() => void) | null = null;
  #draining: ErrorCode | null = null;

  constructor(intake: Intake, claims: Claims, registry: Registry) {
    this.intake = intake;
    this.claims = claims;
    this.#registry = registry;
    this.#connections = registry.gauge("milepost_connections", "Open device connections", {
      transport: "ws",
    });
  }

  behavior(): UWS.WebSocketBehavior<SocketData> {
    return {
      // a frame over the limit is read, so that its sender gets a 1009; uWS cuts the connection
      // without a word at what is more than may be unanswered at all. It bounds the bytes of a
      // message, not its fragments: a million empty ones cost 30 ms and no memory
      maxPayloadLength: limits.wsUnansweredBytesMax,
      // inflating costs memory and a deflate bomb; pings are small
      compression: 0,
      idleTimeout: limits.wsIdleSeconds,
      sendPingsAutomatically: true,
      // a client that sends without reading its replies
      maxBackpressure: limits.wsUnansweredBytesMax,
      closeOnBackpressureLimit: true,
      open: (ws) => {
        this.#connections.value++;
        const { socket } = ws.getUserData();
        this.#sockets.add(socket);
        socket.opened(ws);
        if (this.#draining !== null) socket.refuse(this.#draining);
      },
      message: (ws, message, isBinary) => ws.getUserData().socket.message(message, isBinary),
      close: (ws, code, message) => {
        this.#connections.value--;
        const reason = Buffer.from(message).toString();
        if (code === 1006 && protocolFaults.test(reason)) this.countClosed("protocol");
        ws.getUserData().socket.closed();
      },
    };
  }

  /** For `res.upgrade`. */
  socketFor(driver: string | null): SocketData {
    const source: Source = {
      transport: "ws",
      dialect: "native",
      driver,
      identity: driver === null ? null : Buffer.from(driver),
      memory: new DriverMemory(),
    };
    return { socket: new IngestSocket(this, source) };
  }

  /** Refuses further frames with `reason`; resolves when every frame taken is answered. */
  drain(reason: ErrorCode): Promise<void> {
    this.#draining = reason;
    for (const socket of this.#sockets) socket.refuse(reason);
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onEmpty = resolve));
  }

  due(socket: IngestSocket): void {
    if (this.#dirty.push(socket) === 1) queueMicrotask(() => this.#flush());
  }

  settled(socket: IngestSocket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size === 0) this.#onEmpty?.();
  }

  countClosed(reason: string): void {
    let counter = this.#closed.get(reason);
    if (counter === undefined) {
      const help = "Device connections closed by the gateway, by reason";
      const labels = { transport: "ws", reason };
      counter = this.#registry.counter("milepost_connections_closed_total", help, labels);
      this.#closed.set(reason, counter);
    }
    counter.value++;
  }

  #flush(): void {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const socket of dirty) socket.flush();
  }
}
