/**
 * A connection's half towards the broker. Nothing is there until the client asks for something
 * the lane does not do; then its CONNECT is replayed, and the broker's CONNACK is swallowed when
 * the lane has answered already.
 */
import { randomUUID } from "node:crypto";
import type { BrokerLink } from "../broker/link.ts";
import { AckScanner } from "./ack-scanner.ts";
import type { Connect } from "./connect.ts";
import { withClientId } from "./packets.ts";

export class BrokerSide {
  readonly connect: Connect;
  readonly #link: BrokerLink;
  readonly #id: number;
  readonly #remote: string;
  readonly #packet: Uint8Array;
  #scanner: AckScanner | null = null;
  /** QoS 1 and 2 packets that the broker has not acknowledged. */
  owes = 0;

  /** `packet`: the CONNECT as it came, copied. */
  constructor(link: BrokerLink, id: number, remote: string, connect: Connect, packet: Uint8Array) {
    this.#link = link;
    this.#id = id;
    this.#remote = remote;
    this.connect = connect;
    if (connect.clientId === "") {
      // a name of our own: nobody else can hold it, and the broker's sessions need one
      connect.clientId = `auto-${randomUUID()}`;
      this.#packet = withClientId(packet, connect.clientId);
    } else this.#packet = packet;
  }

  get attached(): boolean {
    return this.#scanner !== null;
  }

  attach(swallowConnack: boolean): void {
    if (this.#scanner !== null) return;
    this.#scanner = new AckScanner();
    this.#link.attach(this.#id, this.#packet, swallowConnack, this.#remote);
  }

  /** False: the broker has enough of this client for now. */
  send(packet: Uint8Array): boolean {
    this.attach(true);
    return this.#link.data(this.#id, packet);
  }

  /** True when what the broker owed has just been paid. */
  paid(bytes: Uint8Array): boolean {
    const acks = this.#scanner?.acksIn(bytes) ?? 0;
    if (this.owes === 0) return false;
    this.owes = Math.max(0, this.owes - acks);
    return this.owes === 0;
  }

  drained(): void {
    if (this.attached) this.#link.drained(this.#id);
  }

  detach(graceful: boolean): void {
    if (this.attached) this.#link.detach(this.#id, graceful);
  }
}
