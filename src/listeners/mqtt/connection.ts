/**
 * One MQTT 3.1.1 connection, over TCP or WebSocket. It finds whole packets in what was read, takes
 * PUBLISHes on ingest topics itself and hands everything else to the broker as it came.
 *
 * Order: acknowledgements leave in the order of the sends. The two sides acknowledge each on their
 * own, so a packet for one side waits while the other still owes an acknowledgement (`#blocked`).
 *
 * Invariant: `#held` is not null exactly while `#blocked`; bytes reach `#parse` once, in order.
 */
import { randomUUID } from "node:crypto";
import { DriverMemory } from "../../codec/driver-memory.ts";
import type { Refusal, Submission, Waiter } from "../../log/producer.ts";
import { limits } from "../../model/limits.ts";
import type { Holder } from "../intake-types.ts";
import { AckScanner } from "./ack-scanner.ts";
import type { AckTarget } from "./acks.ts";
import { ACCEPTED, readConnect, UNAVAILABLE, type Connect } from "./connect.ts";
import { MqttLane } from "./lane.ts";
import { topicFault, type Topic } from "./topics.ts";

/** The socket beneath. `pause` and `resume` do nothing where the transport cannot be stopped. */
export type Io = {
  /** False when the bytes wait for the peer: `MqttConnection.drained` is called when they left. */
  write(bytes: Uint8Array): boolean;
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. */
  close(): void;
  /** Bytes written that the peer has not taken. */
  buffered(): number;
};

type State = "new" | "claiming" | "attaching" | "refused" | "open" | "closed";

const PUBACK = 0x40;
const PUBREC = 0x50;
const PUBCOMP = 0x70;
const PINGRESP = Uint8Array.of(0xd0, 0);
const QOS2 = 0x1_0000;
const NO_BYTES = Buffer.alloc(0);

export class MqttConnection implements Waiter, AckTarget, Holder {
  readonly id: number;
  readonly io: Io;
  readonly #lane: MqttLane;
  readonly #remote: string;
  #state: State = "new";
  #connect: Connect | null = null;
  #connectBytes: Uint8Array | null = null;
  #attached = false;
  #lastHeard: number;
  #silence = limits.connectMsMax / 1000;

  #rest: Buffer | null = null;
  #restLength = 0;
  #held: Buffer | null = null;
  #blocked = false;

  #topic: Topic | null = null;
  memory: DriverMemory | null = null;
  /** Waits on the log: sends that are not settled. */
  #pending = 0;
  /** QoS 1 and 2 packets that the broker has not acknowledged. */
  #brokerOwes = 0;
  #scanner: AckScanner | null = null;
  /** QoS 2 packet ids between PUBLISH and PUBREL; true once PUBREC was sent. */
  #qos2: Map<number, boolean> | null = null;
  #released: (() => void) | null = null;
  #claimed = false;

  constructor(lane: MqttLane, id: number, io: Io, remote: string) {
    this.#lane = lane;
    this.id = id;
    this.io = io;
    this.#remote = remote;
    this.#lastHeard = lane.clock;
  }

  // --- what the socket says ---

  /** `b[0, end)` was read; it is only valid during the call. */
  data(b: Buffer, end: number): void {
    if (this.#state === "closed" || this.#state === "refused") return;
    this.#lastHeard = this.#lane.clock;
    if (this.#blocked) this.#hold(b, 0, end);
    else this.#parse(b, this.#rest === null ? 0 : this.#fill(b, end), end);
  }

  /** The peer has gone. */
  closed(): void {
    this.close("peer");
  }

  // --- packets ---

  #parse(b: Buffer, from: number, end: number): void {
    let at = from;
    while (at < end && this.#state !== "closed") {
      if (this.#blocked) return this.#hold(b, at, end);
      const body = bodyStart(b, at, end);
      if (body < 0) return this.close("malformed_length");
      if (!this.#allowedHeader(b[at])) return;
      const packetEnd = body === 0 ? 0 : body + remainingLength(b, at);
      if (packetEnd - at > this.#packetBytesMax()) return this.close("packet_too_large");
      if (body === 0 || packetEnd > end) {
        // grows with what arrives, not with what is claimed
        this.#rest = Buffer.from(b.subarray(at, end));
        this.#restLength = end - at;
        return;
      }
      this.#packet(b, at, body, packetEnd);
      at = packetEnd;
    }
  }

  /** Completes the packet that began in an earlier read; returns how much of `b` it took. */
  #fill(b: Buffer, end: number): number {
    let at = 0;
    for (;;) {
      const rest = this.#rest as Buffer;
      const have = this.#restLength;
      const body = bodyStart(rest, 0, have);
      if (body < 0) {
        this.close("malformed_length");
        return end;
      }
      const total = body === 0 ? have + 1 : body + remainingLength(rest, 0);
      if (total > this.#packetBytesMax()) {
        this.close("packet_too_large");
        return end;
      }
      if (body > 0 && have === total) {
        this.#rest = null;
        this.#packet(rest, 0, body, total);
        return at;
      }
      if (at === end) return end;
      const take = Math.min(total - have, end - at);
      if (have + take > rest.length) {
        const grown = Buffer.allocUnsafe(Math.min(total, Math.max(64, (have + take) * 2)));
        rest.copy(grown, 0, 0, have);
        this.#rest = grown;
      }
      b.copy(this.#rest as Buffer, have, at, at + take);
      this.#restLength = have + take;
      at += take;
    }
  }

  #packetBytesMax(): number {
    return this.#state === "new" ? limits.connectBytesMax : limits.packetBytesMax;
  }

  /** The first packet is a CONNECT; a broker's packets and unknown ones never come from a client. */
  #allowedHeader(first: number): boolean {
    if (this.#state === "new") {
      if (first === 0x10) return true;
      this.close("not_connect");
      return false;
    }
    const type = first >> 4;
    const flags = first & 15;
    if (type === 3) return true;
    if (HEADER_FLAGS[type] === flags) return true;
    this.close(type === 1 ? "second_connect" : "unexpected_packet");
    return false;
  }

  #packet(b: Buffer, start: number, body: number, end: number): void {
    switch (b[start] >> 4) {
      case 1:
        return this.#onConnect(b, start, body, end);
      case 3:
        return this.#publish(b, start, body, end);
      case 6:
        return this.#pubrel(b, start, body, end);
      case 8:
      case 10:
        return this.#toBroker(b, start, end, true);
      case 12:
        if (end !== body) return this.close("malformed_ping");
        this.#write(PINGRESP);
        return;
      case 14:
        if (end !== body) return this.close("malformed_disconnect");
        return this.close("disconnect", true);
      default:
        if (end - body !== 2) return this.close("malformed_ack");
        if (this.#attached) this.#toBroker(b, start, end, false);
    }
  }

  #onConnect(b: Buffer, start: number, body: number, end: number): void {
    const connect = readConnect(b.subarray(body, end));
    if ("answer" in connect) return this.#refuse(connect.answer, connect.reason);
    if (this.#lane.draining) return this.#refuse(UNAVAILABLE, "draining");
    const refusing = this.#lane.intake.refusing;
    if (refusing !== null) return this.#refuseLater(refusing);
    this.#connect = connect;
    this.#silence = MqttLane.silence(connect.keepAliveSeconds);
    this.#connectBytes = Uint8Array.prototype.slice.call(b, start, end);
    this.#state = "claiming";
    if (connect.clientId === "") {
      // a name of our own: nobody else can hold it, and the broker's sessions need one
      connect.clientId = `auto-${randomUUID()}`;
      return this.granted(false);
    }
    this.#blocked = true;
    this.#held = NO_BYTES;
    this.#claimed = true;
    this.#lane.claims.claim("client", connect.clientId, this);
  }

  #publish(b: Buffer, start: number, body: number, end: number): void {
    const flags = b[start];
    const qos = (flags >> 1) & 3;
    if (qos === 3 || (qos === 0 && (flags & 8) !== 0)) return this.close("publish_flags");
    const topicStart = body + 2;
    const topicEnd = topicStart + ((b[body] << 8) | b[body + 1]);
    let payload = topicEnd;
    if (qos > 0) payload += 2;
    if (topicStart > end || payload > end) return this.close("malformed_publish");
    let packetId = 0;
    if (qos > 0) {
      packetId = (b[topicEnd] << 8) | b[topicEnd + 1];
      if (packetId === 0) return this.close("packet_id");
    }
    let topic = this.#topic;
    if (topic === null || !same(topic.bytes, b, topicStart, topicEnd)) {
      const fault = topicFault(b, topicStart, topicEnd);
      if (fault !== null) return this.close(fault);
      topic = this.#topic = this.#lane.topics.get(b, topicStart, topicEnd);
    }
    if (end - payload > limits.frameBytesMax) return this.close("too_large");
    if (topic.way === "broker") return this.#publishToBroker(b, start, end, qos);
    if (this.#brokerOwes > 0 && qos > 0) return this.#block(b, start, end);

    const { intake, producer } = this.#lane;
    if (qos === 0) {
      if (intake.refusing !== null || producer.shedding) return intake.shed("mqtt", "qos0");
      intake.fromTopic(topic, b, payload, end, this, null, 0);
      return;
    }
    if (intake.refusing !== null) return this.close(intake.refusing);
    let tag = packetId;
    if (qos === 2) {
      this.#qos2 ??= new Map();
      const sent = this.#qos2.get(packetId);
      // the same message again [MQTT-4.3.3-2]: answered, not stored; the first answer may be due
      if (sent !== undefined) {
        if (sent) this.#write(ack(PUBREC, packetId));
        return;
      }
      if (this.#qos2.size >= limits.qos2InflightMax) return this.close("qos2_inflight");
      this.#qos2.set(packetId, false);
      tag |= QOS2;
    }
    this.#pending++;
    intake.fromTopic(topic, b, payload, end, this, this, tag);
  }

  #publishToBroker(b: Buffer, start: number, end: number, qos: number): void {
    if (this.#pending > 0 && qos > 0) return this.#block(b, start, end);
    if (qos > 0) this.#brokerOwes++;
    this.#toBroker(b, start, end, true);
  }

  #pubrel(b: Buffer, start: number, body: number, end: number): void {
    if (end - body !== 2) return this.close("malformed_ack");
    const packetId = (b[body] << 8) | b[body + 1];
    if (this.#qos2?.delete(packetId) || !this.#attached) {
      this.#write(ack(PUBCOMP, packetId));
      return;
    }
    this.#toBroker(b, start, end, false);
  }

  #toBroker(b: Buffer, start: number, end: number, attach: boolean): void {
    if (!this.#attached) {
      if (!attach) return;
      this.#attached = true;
      this.#lane.broker.attach(this.id, this.#connectPacket(), true, this.#remote);
    }
    if (this.#lane.broker.data(this.id, b.subarray(start, end))) return;
    // the broker has enough of this client for now
    this.#blocked = true;
    this.#held = NO_BYTES;
    this.io.pause();
  }

  /** The CONNECT as it came; with the name that we gave where the client left it to us. */
  #connectPacket(): Uint8Array {
    const bytes = this.#connectBytes as Uint8Array;
    const { clientId } = this.#connect as Connect;
    return clientId.startsWith("auto-") ? withClientId(bytes, clientId) : bytes;
  }

  // --- what the broker, the claims and the log say ---

  granted(needsBroker: boolean): void {
    if (this.#state !== "claiming") return;
    const { clean, will } = this.#connect as Connect;
    if (clean && !will && !needsBroker) {
      this.#state = "open";
      this.#write(ACCEPTED);
      return this.#unblock();
    }
    this.#state = "attaching";
    this.#attached = true;
    this.#blocked = true;
    this.#held ??= NO_BYTES;
    this.#lane.broker.attach(this.id, this.#connectPacket(), false, this.#remote);
  }

  /** False: the bytes wait for the peer. */
  fromBroker(bytes: Uint8Array): boolean {
    if (this.#state === "closed") return true;
    const sent = this.#write(bytes);
    if (this.#state === "attaching") {
      // the broker's first packet is its CONNACK
      this.#state = "open";
      this.#unblock();
    }
    if (this.#brokerOwes > 0) {
      this.#scanner ??= new AckScanner();
      this.#brokerOwes = Math.max(0, this.#brokerOwes - this.#scanner.acksIn(bytes));
      if (this.#brokerOwes === 0) this.#unblock();
    }
    return sent;
  }

  /** What `fromBroker` said is waiting has left. */
  drained(): void {
    if (this.#attached) this.#lane.broker.drained(this.id);
  }

  brokerDrained(): void {
    if (this.#state === "open") this.#unblock();
  }

  settle(tag: number, _: Submission | null, __: number, refusal: Refusal | null): void {
    this.#pending--;
    if (this.#state === "closed") return this.#maybeRelease();
    if (refusal !== null) return this.close(refusal);
    this.#lane.intake.acknowledged("mqtt");
    if ((tag & QOS2) === 0) this.#lane.acks.add(this, PUBACK, tag);
    else {
      this.#qos2?.set(tag & 0xffff, true);
      this.#lane.acks.add(this, PUBREC, tag & 0xffff);
    }
    if (this.#pending === 0 && this.#blocked && this.#state === "open") {
      // the acknowledgement goes out before what waited behind it is taken
      this.#lane.acks.flush();
      this.#unblock();
    }
  }

  writeAcks(bytes: Uint8Array): void {
    if (this.#state !== "closed") this.#write(bytes);
  }

  taken(released: () => void): void {
    this.#released = released;
    if (this.#state === "closed") this.#maybeRelease();
    else this.close("taken_over");
  }

  expire(clock: number): void {
    if (this.#blocked) this.#lastHeard = clock;
    else if (clock - this.#lastHeard > this.#silence) {
      this.close(this.#state === "new" ? "connect_timeout" : "keep_alive");
    }
  }

  resumeReading(): void {
    if (!this.#blocked) this.io.resume();
  }

  // --- holding, closing ---

  #block(b: Buffer, start: number, end: number): void {
    this.#blocked = true;
    this.#held = Buffer.from(b.subarray(start, end));
    this.io.pause();
  }

  #hold(b: Buffer, at: number, end: number): void {
    const held = this.#held as Buffer;
    if (held.length + end - at > limits.wsUnansweredBytesMax) return this.close("backlog");
    this.#held = Buffer.concat([held, b.subarray(at, end)]);
    this.io.pause();
  }

  #unblock(): void {
    if (!this.#blocked) return;
    const held = this.#held as Buffer;
    this.#blocked = false;
    this.#held = null;
    this.#parse(held, 0, held.length);
    if (!this.#blocked && !this.#lane.producer.paused && !this.#lane.draining) this.io.resume();
  }

  #write(bytes: Uint8Array): boolean {
    if (this.io.write(bytes)) return true;
    if (this.io.buffered() > limits.mqttOutboundBytesMax) this.close("slow_reader");
    return false;
  }

  #refuse(answer: Uint8Array | null, reason: string): void {
    if (answer !== null) this.io.write(answer);
    this.close(reason);
  }

  /** Nothing can be written now: a random delay keeps the fleet from knocking all at once. */
  #refuseLater(reason: string): void {
    this.#state = "refused";
    setTimeout(() => this.#refuse(UNAVAILABLE, reason), 1000 + Math.random() * 4000).unref();
  }

  close(reason: string, graceful = false): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#rest = this.#held = null;
    this.#blocked = false;
    this.io.close();
    if (this.#attached) this.#lane.broker.detach(this.id, graceful);
    this.#lane.forget(this, reason);
    this.#maybeRelease();
  }

  /** The client id is free once everything handed over is in the log or refused. */
  #maybeRelease(): void {
    if (this.#pending > 0 || !this.#claimed) return;
    this.#claimed = false;
    if (this.#released !== null) this.#released();
    else this.#lane.claims.release(this);
  }
}

/** Flags that each packet type of a client must have [MQTT-2.2.2-1, -2]; -1: never from a client. */
const HEADER_FLAGS = [-1, -1, -1, -1, 0, 0, 2, 0, 2, -1, 2, -1, 0, -1, 0, -1];

/** Where the packet's body begins; 0: more bytes are needed; -1: not a length [MQTT §2.2.3]. */
function bodyStart(b: Uint8Array, at: number, end: number): number {
  for (let i = at + 1; i < at + 5; i++) {
    if (i >= end) return 0;
    if (b[i] < 0x80) return b[i] === 0 && i > at + 1 ? -1 : i + 1;
  }
  return -1;
}

function remainingLength(b: Uint8Array, at: number): number {
  let length = 0;
  let shift = 0;
  for (let i = at + 1; ; i++, shift += 7) {
    length |= (b[i] & 0x7f) << shift;
    if (b[i] < 0x80) return length;
  }
}

function same(topic: Uint8Array, b: Uint8Array, start: number, end: number): boolean {
  if (topic.length !== end - start) return false;
  // drivers differ at the end of the id, so look from there
  for (let i = topic.length - 1, j = end - 1; i >= 0; i--, j--) {
    if (topic[i] !== b[j]) return false;
  }
  return true;
}

const ack = (type: number, packetId: number): Uint8Array =>
  Uint8Array.of(type, 2, packetId >> 8, packetId & 0xff);

/** The same CONNECT with a client id where it had an empty one. */
function withClientId(connect: Uint8Array, clientId: string): Uint8Array {
  const id = Buffer.from(clientId);
  const body = bodyStart(connect, 0, connect.length);
  const idAt = body + 10;
  const length = connect.length - body + id.length;
  const head = [0x10];
  for (let n = length; ; n >>= 7) {
    head.push(n > 0x7f ? (n & 0x7f) | 0x80 : n);
    if (n <= 0x7f) break;
  }
  return Buffer.concat([
    Buffer.from(head),
    connect.subarray(body, idAt),
    Buffer.from([id.length >> 8, id.length & 0xff]),
    id,
    connect.subarray(idAt + 2),
  ]);
}
