/**
 * The Kafka port: accepts connections, and bounds what all of them hold together. Every bound is
 * looked at when it may have been passed, not in intervals.
 */
import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { LineLimit } from "../lib/line-limit.ts";
import { readInto } from "../lib/read-into.ts";
import { limits } from "../model/limits.ts";
import { plainAddress } from "./addresses.ts";
import { Connection, type Host } from "./connection.ts";
import type { Handler } from "./handler.ts";
import { type Reason, ServerMetrics } from "./metrics.ts";
import type { Services } from "./services.ts";

const TICK_MS = 1000;
const READ_BYTES = 64 * 1024;
/** Sockets that wait to be accepted: clients reconnect at once. */
const BACKLOG = 4096;
/** Before a peer that says nothing is asked whether it is there. */
const KEEP_ALIVE_MS = 60_000;

export type KafkaServerOptions = {
  host: string;
  /** 0: any free one. */
  port: number;
  /** null: clients are told the address they connected to. */
  advertise: string | null;
  connectionsMax: number;
};

export class KafkaServer implements Host {
  readonly services: Services;
  readonly metrics: ServerMetrics;
  readonly handlers: ReadonlyMap<number, Handler>;
  readonly held = { requests: 0, begun: 0, answers: 0 };
  readonly #options: KafkaServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #awaitRoom = new Set<Connection>();
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #refusals: LineLimit;
  readonly #faults: LineLimit;
  readonly #tick: NodeJS.Timeout;
  #settling = false;
  port = 0;

  private constructor(
    services: Services,
    handlers: ReadonlyMap<number, Handler>,
    options: KafkaServerOptions,
  ) {
    this.services = services;
    this.handlers = handlers;
    this.#options = options;
    this.metrics = new ServerMetrics(services.registry);
    const lines = limits.kafkaLinesPerMinuteMax;
    const report = (line: string): void => services.report(`kafka: ${line}`);
    this.#refusals = new LineLimit(report, lines, "connections closed");
    this.#faults = new LineLimit(report, lines, "faults");
    const socket = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    this.#server = createServer({ ...socket, pauseOnConnect: true }, (s) => this.#accept(s));
    this.#tick = setInterval(() => this.tick(services.now()), TICK_MS);
    services.registry.onSnapshot(() => {
      this.metrics.connections.value = this.#connections.size;
      this.metrics.unread.value = this.held.requests + this.held.begun;
      this.metrics.unsent.value = this.held.answers;
    });
  }

  static async listen(
    services: Services,
    handlers: ReadonlyMap<number, Handler>,
    options: KafkaServerOptions,
  ): Promise<KafkaServer> {
    const server = new KafkaServer(services, handlers, options);
    await server.#listen();
    return server;
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.removeListener("error", reject);
        // running out of descriptors ends an accept, never the process
        this.#server.on("error", (error) => this.fault(`a connection was lost: ${error.message}`));
        this.port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  #accept(accepted: Socket): void {
    if (this.#connections.size >= this.#options.connectionsMax) {
      this.refused("connections", `${this.#connections.size} connections are open, one too many`);
      accepted.destroy();
      return;
    }
    const host = plainAddress(this.#options.advertise ?? accepted.localAddress ?? "127.0.0.1");
    const buffer = this.#buffer;
    const socket = readInto(accepted, buffer, (length) => connection.data(buffer, length), {
      allowHalfOpen: true,
    });
    const connection = new Connection(socket, this, { host, port: this.port });
    this.#connections.add(connection);
    socket.on("close", () => {
      this.#connections.delete(connection);
      this.#awaitRoom.delete(connection);
    });
    socket.resume();
  }

  tick(now: number): void {
    for (const connection of this.#connections) connection.tick(now);
    this.#refusals.tick(now);
    this.#faults.tick(now);
  }

  settle(): void {
    if (this.#settling) return;
    this.#settling = true;
    this.#shed();
    for (const connection of this.#awaitRoom) {
      if (this.held.begun >= limits.kafkaBegunBytesAllMax) break;
      this.#awaitRoom.delete(connection);
      connection.advance();
      this.#shed();
      if (this.#awaitRoom.has(connection)) break;
    }
    this.#settling = false;
  }

  #shed(): void {
    while (this.held.requests > limits.kafkaRequestBytesAllMax) {
      const largest = this.#most(({ requestBytes }) => requestBytes);
      largest.refuse("memory", `its requests hold ${largest.requestBytes} bytes`);
    }
    while (this.held.answers > limits.kafkaUnsentBytesAllMax) {
      this.#most(({ unreadSinceMs }) => -unreadSinceMs).refuse("memory", "reads no answers");
    }
  }

  awaitRoom(connection: Connection): void {
    this.#awaitRoom.add(connection);
  }

  refused(reason: Reason, line: string): void {
    this.metrics.closed(reason);
    this.#refusals.say(line, this.services.now());
  }

  fault(line: string): void {
    this.#faults.say(line, this.services.now());
  }

  /** Accepts nobody, begins nothing; resolves once what began is answered. */
  async drain(): Promise<void> {
    this.#server.close();
    for (const connection of this.#connections) connection.drain();
    while (this.#connections.size > 0) await new Promise((r) => setTimeout(r, 20));
  }

  close(): void {
    clearInterval(this.#tick);
    this.#server.close();
    for (const connection of this.#connections) connection.close();
  }

  #most(value: (connection: Connection) => number): Connection {
    let [most, found]: [number, Connection | null] = [-Infinity, null];
    for (const connection of this.#connections) {
      const own = value(connection);
      if (found === null || own > most) [most, found] = [own, connection];
    }
    assert(found !== null && most !== 0);
    return found;
  }
}
