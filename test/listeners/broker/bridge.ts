/**
 * A worker as small as it can be: accepts sockets, cuts the stream into packets, and hands every
 * connection to the broker through a real port. No lane: tests stay off ingest topics.
 */
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { MessageChannel } from "node:worker_threads";
import type { Broker } from "../../../src/listeners/broker/broker.ts";
import { BrokerLink } from "../../../src/listeners/broker/link.ts";
import { packetLength } from "../../../src/listeners/broker/packets.ts";

export class Bridge {
  readonly link: BrokerLink;
  readonly sockets = new Map<number, Socket>();
  readonly #server: Server;
  #nextConn = 1;

  constructor(broker: Broker) {
    const { port1, port2 } = new MessageChannel();
    this.link = new BrokerLink(port1);
    broker.attachWorker(port2);
    this.link.onData = (conn, bytes) => this.sockets.get(conn)?.write(bytes);
    this.link.onClose = (conn) => this.sockets.get(conn)?.end();
    this.link.onDrain = (conn) => this.sockets.get(conn)?.resume();
    this.#server = createServer((socket) => this.#accept(socket));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `mqtt://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets.values()) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    this.link.close();
  }

  #accept(socket: Socket): void {
    const conn = this.#nextConn++;
    let rest: Buffer = Buffer.alloc(0);
    let attached = false;
    let graceful = false;
    this.sockets.set(conn, socket);
    socket.on("error", () => {});
    socket.on("drain", () => this.link.drained(conn));
    socket.on("close", () => {
      this.sockets.delete(conn);
      this.link.detach(conn, graceful);
    });
    socket.on("data", (chunk) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let length = packetLength(rest, 0); length > 0; length = packetLength(rest, 0)) {
        const packet = rest.subarray(0, length);
        rest = rest.subarray(length);
        graceful ||= packet[0] === 0xe0;
        if (attached) {
          if (!this.link.data(conn, packet)) socket.pause();
        } else this.link.attach(conn, packet, false, "test");
        attached = true;
      }
    });
  }
}
