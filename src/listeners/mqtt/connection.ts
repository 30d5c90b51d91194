/**
 * One MQTT 3.1.1 connection, over TCP or WebSocket. It finds whole packets in what was read, takes
 * PUBLISHes on ingest topics itself and hands everything else to the broker as it came.
 *
 * Order: acknowledgements leave in the order of the sends. The two sides acknowledge each on their
 * own, so a packet for one side waits while the other still owes an acknowledgement.
 */
import type { DriverMemory } from "../../codec/driver-memory.ts";
import type { Refusal, Submission, Waiter } from "../../log/submission.ts";
import { limits } from "../../model/limits.ts";
import type { Holder, Release } from "../intake-types.ts";
import type { AckTarget } from "./acks.ts";
import { BrokerSide } from "./broker-side.ts";
import { ACCEPTED, readConnect, UNAVAILABLE } from "./connect.ts";
import type { MqttLane } from "./lane.ts";
import { PacketReader, type PacketSink } from "./packet-reader.ts";
import { ack, HEADER_FLAGS, same } from "./packets.ts";
import { Qos2Ids } from "./qos2.ts";
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

export class MqttConnection implements PacketSink, Waiter, AckTarget, Holder {
  readonly id: number;
  readonly io: Io;
  readonly #lane: MqttLane;
  readonly #remote: string;
  #state: State = "new";
  #broker: BrokerSide | null = null;
  #lastHeard: number;
  #silence = limits.connectMsMax / 1000;
  readonly #reader: PacketReader;

  #topic: Topic | null = null;
  memory: DriverMemory | null = null;
  /** Waits on the log: sends that are not settled. */
  #pending = 0;
  #qos2: Qos2Ids | null = null;
  #released: Release | null = null;
  #claimed = false;

  constructor(lane: MqttLane, id: number, io: Io, remote: string) {
    this.#lane = lane;
    this.id = id;
    this.io = io;
    this.#remote = remote;
    this.#lastHeard = lane.clock;
    this.#reader = new PacketReader(this);
  }

  // --- what the socket says ---

  /** `b[0, end)` was read; it is only valid during the call. */
  data(b: Buffer, end: number): void {
    if (this.#state === "closed" || this.#state === "refused") return;
    // before its CONNECT is whole a client is not heard, however steadily it drips
    if (this.#state !== "new") this.#lastHeard = this.#lane.clock;
    this.#reader.read(b, end);
  }

  /** The peer has gone. */
  closed(): void {
    this.close("peer");
  }

  // --- packets ---

  get isClosed(): boolean {
    return this.#state === "closed";
  }
  get packetBytesMax(): number {
    return this.#state === "new" ? limits.connectBytesMax : limits.packetBytesMax;
  }
  pause(): void {
    this.io.pause();
  }

  /** The first packet is a CONNECT; a broker's packets and unknown ones come from no client. */
  allows(first: number): boolean {
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

  packet(b: Buffer, start: number, body: number, end: number): void {
    switch (b[start] >> 4) {
      case 1:
        return this.#onConnect(b, start, body, end);
      case 3:
        return this.#publish(b, start, body, end);
      case 6:
        return this.#pubrel(b, start, body, end);
      case 8:
      case 10:
        return this.#toBroker(b, start, end);
      case 12:
        if (end !== body) return this.close("malformed_ping");
        this.#write(PINGRESP);
        return;
      case 14:
        if (end !== body) return this.close("malformed_disconnect");
        return this.close("disconnect", true);
      default:
        if (end - body !== 2) return this.close("malformed_ack");
        if (this.#broker?.attached) this.#toBroker(b, start, end);
    }
  }

  #onConnect(b: Buffer, start: number, body: number, end: number): void {
    const connect = readConnect(b.subarray(body, end));
    if ("answer" in connect) return this.#refuse(connect.answer, connect.reason);
    if (this.#lane.draining) return this.#refuse(UNAVAILABLE, "draining");
    const refusing = this.#lane.intake.refusing;
    if (refusing !== null) return this.#refuseLater(refusing);
    const packet = Uint8Array.prototype.slice.call(b, start, end);
    const named = connect.clientId !== "";
    this.#broker = new BrokerSide(this.#lane.broker, this.id, this.#remote, connect, packet);
    this.#silence = silenceSeconds(connect.keepAliveSeconds);
    this.#lastHeard = this.#lane.clock;
    this.#state = "claiming";
    if (!named) return this.granted(false, []);
    this.#reader.block();
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
    const broker = this.#broker as BrokerSide;
    if (broker.owes > 0 && qos > 0) return this.#reader.block(b, start, end);

    const { intake, producer } = this.#lane;
    if (qos === 0) {
      if (intake.refusing !== null || producer.shedding) return intake.metrics.shed("mqtt", "qos0");
      intake.fromTopic(topic, b, payload, end, this, null, 0);
      return;
    }
    if (intake.refusing !== null) return this.close(intake.refusing);
    let tag = packetId;
    if (qos === 2) {
      const ids = (this.#qos2 ??= new Qos2Ids());
      const sent = ids.state(packetId);
      if (sent) this.#write(ack(PUBREC, packetId));
      // false: the answer to the first one is still due
      if (sent !== undefined) return;
      if (ids.full) return this.close("qos2_inflight");
      ids.taken(packetId);
      tag |= QOS2;
    }
    this.#pending++;
    intake.fromTopic(topic, b, payload, end, this, this, tag);
  }

  #publishToBroker(b: Buffer, start: number, end: number, qos: number): void {
    if (this.#pending > 0 && qos > 0) return this.#reader.block(b, start, end);
    if (qos > 0) (this.#broker as BrokerSide).owes++;
    this.#toBroker(b, start, end);
  }

  #pubrel(b: Buffer, start: number, body: number, end: number): void {
    if (end - body !== 2) return this.close("malformed_ack");
    const packetId = (b[body] << 8) | b[body + 1];
    if (this.#qos2?.released(packetId) || !this.#broker?.attached) {
      this.#write(ack(PUBCOMP, packetId));
    } else this.#toBroker(b, start, end);
  }

  #toBroker(b: Buffer, start: number, end: number): void {
    if ((this.#broker as BrokerSide).send(b.subarray(start, end))) return;
    this.#reader.block();
  }

  // --- what the broker, the claims and the log say ---

  granted(needsBroker: boolean, carried: number[]): void {
    if (this.#state !== "claiming") return;
    const broker = this.#broker as BrokerSide;
    const { clean, will } = broker.connect;
    if (!clean && carried.length > 0) {
      const ids = (this.#qos2 = new Qos2Ids());
      for (const id of carried) ids.stored(id);
    }
    if (clean && !will && !needsBroker) {
      this.#state = "open";
      this.#write(ACCEPTED);
      return this.#unblock();
    }
    this.#state = "attaching";
    if (!this.#reader.blocked) this.#reader.block();
    broker.attach(false);
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
    if (this.#broker?.paid(bytes)) this.#unblock();
    return sent;
  }

  /** What `fromBroker` said is waiting has left. */
  drained(): void {
    this.#broker?.drained();
  }

  brokerDrained(): void {
    if (this.#state === "open") this.#unblock();
  }

  settle(tag: number, _: Submission | null, __: number, refusal: Refusal | null): void {
    this.#pending--;
    const packetId = tag & 0xffff;
    if ((tag & QOS2) !== 0) {
      if (refusal === null) this.#qos2?.stored(packetId);
      else this.#qos2?.refused(packetId);
    }
    if (this.#state === "closed") return this.#maybeRelease();
    if (refusal !== null) return this.close(refusal);
    this.#lane.intake.metrics.acks.mqtt.n++;
    this.#lane.acks.add(this, (tag & QOS2) === 0 ? PUBACK : PUBREC, packetId);
    if (this.#pending === 0 && this.#reader.blocked && this.#state === "open") {
      // the acknowledgement goes out before what waited behind it is taken
      this.#lane.acks.flush();
      this.#unblock();
    }
  }

  writeAcks(bytes: Uint8Array): void {
    if (this.#state !== "closed") this.#write(bytes);
  }

  taken(released: Release): void {
    this.#released = released;
    if (this.#state === "closed") this.#maybeRelease();
    else this.close("taken_over");
  }

  expire(clock: number): void {
    if (this.#reader.blocked) this.#lastHeard = clock;
    else if (clock - this.#lastHeard > this.#silence) {
      this.close(this.#state === "new" ? "connect_timeout" : "keep_alive");
    }
  }

  resumeReading(): void {
    const { producer, draining } = this.#lane;
    if (!this.#reader.blocked && !producer.paused && !draining) this.io.resume();
  }

  // --- closing ---

  #unblock(): void {
    if (this.#reader.unblock()) this.resumeReading();
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
    this.#reader.drop();
    this.io.close();
    this.#broker?.detach(graceful);
    this.#lane.forget(this, reason);
    this.#maybeRelease();
  }

  /** The client id is free once everything handed over is in the log or refused. */
  #maybeRelease(): void {
    if (this.#pending > 0 || !this.#claimed) return;
    this.#claimed = false;
    const carried = this.#broker?.connect.clean ? [] : (this.#qos2?.carried() ?? []);
    if (this.#released !== null) this.#released(carried);
    else this.#lane.claims.release(this, carried);
  }
}

/** Closed after this long without a packet: half as much again as promised [MQTT-3.1.2-24]. */
function silenceSeconds(keepAlive: number): number {
  return keepAlive === 0 ? limits.idleMsMax / 1000 : Math.ceil(keepAlive * 1.5) + 1;
}
