/**
 * One connection between the port of its worker and aedes, which takes it for a socket.
 *
 * In: aedes gets one packet at a time, the next when it is done with the last, so packets keep
 * their order whatever each has to wait for; nothing after CONNECT before the client is ready.
 *
 * Out: whole packets, watched on their way:
 * - nothing overtakes the CONNACK (aedes restores subscriptions before it answers);
 * - a PUBACK is held until its message has been stored for whoever must get it (aedes answers
 *   first and stores afterwards);
 * - above `limits.brokerUnreadBytesMax` under way to the socket `write` answers false and aedes's
 *   own streams (queued and retained messages) wait; above half of the limit QoS 0 is dropped,
 *   above `limits.mqttOutboundBytesMax` the connection is closed.
 */
import { Duplex } from "node:stream";
import { limits } from "../../model/limits.ts";
import { filtersOf, packetFault, packetId, packetLength, repeatCodes, types } from "./packets.ts";
import { FLAG, kinds, type Outbox } from "./protocol.ts";

export type PipeEvents = {
  closed(pipe: Pipe): void;
  /** The connection is about to be closed because of what it sent, or did not read. */
  refused(pipe: Pipe, reason: string): void;
  dropped(pipe: Pipe): void;
};

type HeldAck = { packet: Buffer; stored: boolean };

const DROP_ABOVE = limits.mqttOutboundBytesMax / 2;
const DISCONNECT = Buffer.from([types.disconnect << 4, 0]);

export class Pipe extends Duplex {
  readonly id: number;
  readonly remote: string;
  /** Filters that were granted: the session's, or the connection's when clean. */
  readonly filters = new Set<string>();
  /** Filters seen of the SUBSCRIBE that aedes works on. */
  filtersInPacket = 0;
  /** The CONNACK says so; aedes forgets sessions without a subscription. */
  sessionPresent = false;
  /** Ordinal of the session's connection; 0 for a clean one. */
  connection = 0;
  onReady: () => void = () => {};
  /** CONNACK code to refuse the client with, or 0. */
  refusal = 0;

  readonly #outbox: Outbox;
  readonly #events: PipeEvents;
  readonly #swallowConnack: boolean;
  #packets: Buffer[] = [];
  #unreadBytes = 0;
  #consumedBytes = 0;
  /** aedes has asked for a packet and found none. */
  #idle = true;
  #ready = false;
  #ending: "no" | "graceful" | "cut" = "no";
  #detached = false;
  #connacked = false;
  /** Packets written before the CONNACK. */
  #early: Buffer[] = [];
  #earlyBytes = 0;
  #heldAcks: HeldAck[] = [];
  /** Of the SUBSCRIBE that aedes works on. */
  #filters: string[] = [];
  #unsentBytes = 0;

  constructor(
    id: number,
    remote: string,
    swallowConnack: boolean,
    outbox: Outbox,
    events: PipeEvents,
  ) {
    super({ writableHighWaterMark: limits.mqttOutboundBytesMax * 2, allowHalfOpen: false });
    this.id = id;
    this.remote = remote;
    this.#swallowConnack = swallowConnack;
    this.#outbox = outbox;
    this.#events = events;
  }

  /** aedes listens by now. */
  start(connect: Buffer): void {
    this.#packets.push(Buffer.from(connect));
    this.#idle = false;
    this.emit("readable");
  }

  /** After the CONNACK and the queued messages: from here on aedes takes packets. */
  ready(): void {
    this.#ready = true;
    this.onReady();
  }

  get isReady(): boolean {
    return this.#ready;
  }

  // --- from the worker ---

  /** Whole packets of the client. */
  accept(bytes: Buffer): void {
    if (this.destroyed || this.#ending !== "no") return;
    this.#unreadBytes += bytes.length;
    if (this.#unreadBytes > limits.brokerUnreadBytesHardMax) return this.#refuse("backlog");
    for (let at = 0; at < bytes.length;) {
      const length = packetLength(bytes, at);
      if (length === 0) return this.#refuse("packet cut");
      this.#packets.push(bytes.subarray(at, at + length));
      at += length;
    }
    this.#wake();
  }

  drained(bytes: number): void {
    const wasFull = this.#unsentBytes > limits.brokerUnreadBytesMax;
    this.#unsentBytes -= bytes;
    if (wasFull && this.#unsentBytes <= limits.brokerUnreadBytesMax) this.emit("drain");
  }

  /** The socket is gone. What it sent before is still taken, then the client is closed. */
  detach(graceful: boolean): void {
    if (this.destroyed) return;
    this.#detached = true;
    this.#ending = graceful ? "graceful" : "cut";
    this.#unsentBytes = 0;
    this.emit("drain");
    this.#wake();
  }

  #wake(): void {
    if (!this.#idle || !this.#ready) return;
    this.#idle = false;
    this.emit("readable");
  }

  // --- what aedes reads ---

  override read(size?: number): Buffer | null {
    if (size === 0) return null;
    const packet = this.#next();
    this.#idle = packet === null;
    return packet;
  }

  override _read(): void {}

  #next(): Buffer | null {
    if (this.destroyed) return null;
    const first = this.#packets[0];
    if (first !== undefined && first[0] >> 4 === types.connect && !this.#connacked) {
      if (!this.#ready) return this.#packets.shift() as Buffer;
    }
    if (!this.#ready || this.#heldAcks.length >= limits.qos2InflightMax) return null;
    if (first === undefined) return this.#end();
    this.#packets.shift();
    this.#consume(first.length);
    const fault = packetFault(first);
    if (fault !== null) {
      this.#refuse(fault);
      return null;
    }
    if (first[0] >> 4 === types.subscribe) {
      this.filtersInPacket = 0;
      this.#filters = filtersOf(first);
    }
    return first;
  }

  #end(): Buffer | null {
    if (this.#ending === "graceful") {
      this.#ending = "cut";
      return DISCONNECT; // as if it came from the client: no will
    }
    if (this.#ending === "cut") this.destroy();
    return null;
  }

  #consume(bytes: number): void {
    this.#unreadBytes -= bytes;
    this.#consumedBytes += bytes;
    if (this.#consumedBytes < limits.brokerCreditBytes || this.#detached) return;
    this.#outbox.count(kinds.consumed, this.id, this.#consumedBytes);
    this.#consumedBytes = 0;
  }

  // --- what aedes writes ---

  // oxlint-disable-next-line no-explicit-any -- Duplex has four forms of it
  override write(chunk: any, encoding?: any, done?: any): boolean {
    if (this.destroyed) return true;
    super.write(chunk, encoding, done);
    const bytes = this.#unsentBytes + this.writableLength;
    // above the second bound nothing is gained by waiting: QoS 0 is dropped
    return bytes <= limits.brokerUnreadBytesMax || bytes > DROP_ABOVE;
  }

  override _write(chunk: Buffer | string, encoding: BufferEncoding, done: () => void): void {
    this.#out(typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk);
    done();
  }

  /** mqtt-packet corks around each packet, so these are whole packets. */
  override _writev(
    chunks: { chunk: Buffer | string; encoding: BufferEncoding }[],
    done: () => void,
  ): void {
    const parts = chunks.map(({ chunk, encoding }) =>
      typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk,
    );
    this.#out(Buffer.concat(parts));
    done();
  }

  #out(bytes: Buffer): void {
    let from = 0;
    for (let at = 0; at < bytes.length;) {
      const end = at + (packetLength(bytes, at) || bytes.length - at);
      if (!this.#passes(bytes, at, end)) {
        this.#send(bytes.subarray(from, at));
        from = end;
      }
      at = end;
    }
    this.#send(bytes.subarray(from));
  }

  /** False: dropped, held, or sent by itself. */
  #passes(bytes: Buffer, at: number, end: number): boolean {
    const type = bytes[at] >> 4;
    if (type === types.connack) {
      this.#connack(bytes[at + 3]);
      return false;
    }
    const isQos0 = type === types.publish && (bytes[at] & 6) === 0;
    if (isQos0 && this.#unsentBytes + this.#earlyBytes > DROP_ABOVE) {
      this.#events.dropped(this);
      return false;
    }
    if (!this.#connacked) {
      this.#early.push(Buffer.from(bytes.subarray(at, end)));
      this.#earlyBytes += end - at;
      return false;
    }
    if (type === types.puback) {
      this.#heldAcks.push({ packet: Buffer.from(bytes.subarray(at, end)), stored: false });
      return false;
    }
    if (type === types.suback) {
      const mended = repeatCodes(this.#filters, bytes.subarray(at, end));
      this.#filters = [];
      if (mended !== null) this.#send(mended);
      return mended === null;
    }
    return true;
  }

  #connack(code: number): void {
    this.#connacked = true;
    const present = code === 0 && this.sessionPresent ? 1 : 0;
    const accepted = code === 0;
    if (!this.#swallowConnack) this.#send(Buffer.from([types.connack << 4, 2, present, code]));
    if (accepted) for (const packet of this.#early) this.#send(packet);
    this.#early = [];
    this.#earlyBytes = 0;
  }

  /** The message of this PUBACK is stored. They leave in order [MQTT-4.6.0-2]. */
  release(messageId: number | undefined): void {
    if (this.destroyed) return;
    const held = this.#heldAcks.find((ack) => !ack.stored && packetId(ack.packet, 2) === messageId);
    if (held === undefined) return;
    held.stored = true;
    while (this.#heldAcks[0]?.stored) this.#send((this.#heldAcks.shift() as HeldAck).packet);
    this.#wake();
  }

  /** A message that was to be acknowledged cannot be. */
  unstorable(): void {
    this.#refuse("storage");
  }

  #send(bytes: Buffer): void {
    if (bytes.length === 0 || this.#detached) return;
    this.#outbox.frame(kinds.data, this.id, 0, bytes);
    this.#unsentBytes += bytes.length;
    if (this.#unsentBytes > limits.mqttOutboundBytesMax) this.#refuse("slow");
  }

  #refuse(reason: string): void {
    if (this.destroyed) return;
    this.#events.refused(this, reason);
    this.destroy();
  }

  override _destroy(_error: Error | null, done: (error: Error | null) => void): void {
    this.#packets = [];
    this.#early = [];
    this.#heldAcks = [];
    if (!this.#detached) this.#outbox.frame(kinds.close, this.id, FLAG);
    this.#detached = true;
    this.#events.closed(this);
    done(null); // aedes has reported it, a socket's error is nobody's
  }
}
