/** The Kafka port: accepts connections, and closes those that have stalled. */
import { createServer, type AddressInfo, type Server } from "node:net";
import { limits } from "../model/limits.ts";
import { Connection } from "./connection.ts";
import { ServerMetrics } from "./metrics.ts";
import type { Services } from "./services.ts";

const TICK_MS = 1000;

export class KafkaServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();
  readonly #tick: NodeJS.Timeout;
  port = 0;

  private constructor(services: Services, advertise: string | null) {
    const metrics = new ServerMetrics(services.registry);
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
      if (this.#connections.size >= limits.kafkaConnectionsMax) {
        socket.destroy();
        return;
      }
      const host = advertise ?? plainAddress(socket.localAddress ?? "127.0.0.1");
      const advertised = { host, port: this.port };
      const connection = new Connection(socket, services, metrics, advertised, () => {
        this.#connections.delete(connection);
        metrics.connections.value = this.#connections.size;
      });
      this.#connections.add(connection);
      metrics.connections.value = this.#connections.size;
    });
    this.#tick = setInterval(() => {
      const now = services.now();
      let unread = 0;
      for (const connection of this.#connections) {
        connection.tick(now);
        unread += connection.unread;
      }
      if (unread > limits.kafkaUnreadBytesAllMax) this.#shed();
    }, TICK_MS);
  }

  static async listen(
    services: Services,
    options: { host: string; port: number; advertise: string | null },
  ): Promise<KafkaServer> {
    const server = new KafkaServer(services, options.advertise);
    await new Promise<void>((resolve, reject) => {
      server.#server.once("error", reject);
      server.#server.listen(options.port, options.host, resolve);
    });
    server.port = (server.#server.address() as AddressInfo).port;
    return server;
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

  /** Half-received requests hold too much: the largest goes. */
  #shed(): void {
    let largest: Connection | null = null;
    for (const connection of this.#connections) {
      if (largest === null || connection.unread > largest.unread) largest = connection;
    }
    largest?.close();
  }
}

/** An IPv4 client of an IPv6 socket is told an IPv4 address. */
const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/, "");
