/** Connections made of packets, through a BrokerLink and a real port: no socket, no client. */
import { MessageChannel } from "node:worker_threads";
import mqttPacket, { type Packet } from "mqtt-packet";
import type { Broker } from "../../../src/listeners/broker/broker.ts";
import { BrokerLink } from "../../../src/listeners/broker/link.ts";

/** Any packet; the fields the tests look at. */
export type Taken = { cmd: string; messageId: number; payload: Buffer; granted: number[] };

export class RawLink {
  readonly link: BrokerLink;
  readonly #clients = new Map<number, RawClient>();
  #nextConn = 1;

  constructor(broker: Broker) {
    const { port1, port2 } = new MessageChannel();
    this.link = new BrokerLink(port1);
    broker.attachWorker(port2);
    this.link.onData = (conn, bytes) => this.#clients.get(conn)?.onData(bytes);
    this.link.onClose = (conn) => this.#clients.get(conn)?.onClose();
  }

  /** Sends the CONNECT; the CONNACK is the first packet. */
  attach(connect: object, swallowConnack = false): RawClient {
    const conn = this.#nextConn++;
    const client = new RawClient(this.link, conn);
    this.#clients.set(conn, client);
    const packet = { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true };
    const bytes = mqttPacket.generate({ ...packet, keepalive: 60, ...connect } as Packet);
    this.link.attach(conn, bytes, swallowConnack, "test");
    return client;
  }

  close(): void {
    this.link.close();
  }
}

export class RawClient {
  readonly packets: Packet[] = [];
  /** The kinds of all packets, as they came. */
  readonly order: string[] = [];
  connack: object | null = null;
  readonly conn: number;
  closed = false;
  bytes = 0;
  /** As a socket whose peer does not read. */
  frozen = false;
  readonly #link: BrokerLink;
  readonly #parser = mqttPacket.parser({ protocolVersion: 4 });
  #wake: () => void = () => {};

  constructor(link: BrokerLink, conn: number) {
    this.#link = link;
    this.conn = conn;
    this.#parser.on("packet", (packet) => {
      this.packets.push(packet);
      this.order.push(String(packet.cmd));
    });
  }

  send(...packets: object[]): void {
    for (const packet of packets) {
      const whole = { dup: false, retain: false, qos: 0, ...packet } as Packet;
      this.bytesOf(mqttPacket.generate(whole));
    }
  }

  bytesOf(bytes: Uint8Array): boolean {
    return this.#link.data(this.conn, bytes);
  }

  detach(graceful: boolean): void {
    this.#link.detach(this.conn, graceful);
  }

  onData(bytes: Uint8Array): boolean {
    this.bytes += bytes.length;
    if (this.frozen) return false;
    this.#parser.parse(Buffer.from(bytes));
    this.#wake();
    return true;
  }

  onClose(): void {
    this.closed = true;
    this.#wake();
  }

  thaw(): void {
    this.frozen = false;
    this.#link.drained(this.conn);
  }

  /** The first packet of this kind that has not been taken yet; throws when closed before it. */
  async take(cmd: string): Promise<Taken> {
    for (;;) {
      const at = this.packets.findIndex((p) => p.cmd === cmd);
      if (at >= 0) return this.packets.splice(at, 1)[0] as Taken;
      if (this.closed) throw new Error(`closed before ${cmd}`);
      await this.#change();
    }
  }

  async untilClosed(): Promise<void> {
    while (!this.closed) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
