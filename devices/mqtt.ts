import { connect } from "node:net";
import type { Socket } from "node:net";
import { acceptMsMax, silentMsMax, windowBytes, windowMessages } from "./link.ts";
import type { Link } from "./link.ts";
import type { Outbox } from "./outbox.ts";
import { Redial } from "./redial.ts";
import type { Gate } from "./redial.ts";
import type { Tally } from "./tally.ts";

const keepAliveSeconds = 60;
/** Silence on our side after which a PINGREQ is due. */
const quietMsMax = 40_000;
/** At QoS 0 nothing else bounds what the socket takes. */
const unwrittenBytesMax = 64 * 1024;

const [publishQos0, publishQos1, duplicate] = [0x30, 0x32, 0x08];
const [connack, puback] = [2, 4];
const pingreq = Buffer.of(0xc0, 0);
const disconnect = Buffer.of(0xe0, 0);

/** All sockets read into one buffer: what is read is used before the next read begins. */
const readBuffer = Buffer.allocUnsafeSlow(64 * 1024);

/**
 * MQTT 3.1.1, as much as a vehicle that publishes needs: CONNECT, PUBLISH at QoS 0 or 1, PUBACK,
 * PINGREQ. Thousands of drivers live in one process, and the general client (mqtt 5.16) was
 * measured at 36 KB and 31 us a ping for each, where this takes 8 KB and 12 to 20 us; and what is
 * sent again, and in which order, is plain to see here.
 */
export class MqttLink implements Link {
  readonly #outbox: Outbox;
  readonly #tally: Tally;
  readonly #redial: Redial;
  readonly #target: { host: string; port: number };
  readonly #qos: 0 | 1;
  readonly #topic: Buffer;
  readonly #eventTopic: Buffer;
  #socket: Socket | null = null;
  #accepted = false;
  #carry: Buffer | null = null;
  #lastPacketId = 0;
  #dialledMs = 0;
  #readMs = 0;
  #writtenMs = 0;
  /** When the first thing was written that has to be answered after the last read. */
  #askedMs = 0;

  constructor(
    outbox: Outbox,
    tally: Tally,
    gate: Gate,
    options: { host: string; port: number; qos: 0 | 1 },
  ) {
    this.#outbox = outbox;
    this.#tally = tally;
    this.#redial = new Redial(gate, () => this.#dial());
    this.#target = { host: options.host, port: options.port };
    this.#qos = options.qos;
    this.#topic = Buffer.from(`fleet/${outbox.driver}/position`);
    this.#eventTopic = Buffer.from(`fleet/${outbox.driver}/event`);
  }

  encode(payload: Uint8Array, length: number): Buffer {
    return this.#publish(this.#topic, payload, length);
  }

  encodeEvent(payload: Uint8Array): Buffer {
    return this.#publish(this.#eventTopic, payload, payload.length);
  }

  /** The whole PUBLISH packet; the packet id is filled in when it is sent. */
  #publish(topic: Buffer, payload: Uint8Array, length: number): Buffer {
    const rest = 2 + topic.length + (this.#qos === 0 ? 0 : 2) + length;
    const sizeBytes = rest < 128 ? 1 : rest < 16_384 ? 2 : 3;
    const packet = Buffer.allocUnsafe(1 + sizeBytes + rest);
    packet[0] = this.#qos === 0 ? publishQos0 : publishQos1;
    let at = 1;
    for (let left = rest; ; left >>= 7) {
      packet[at++] = left > 127 ? (left & 127) | 128 : left;
      if (left <= 127) break;
    }
    packet[at++] = topic.length >> 8;
    packet[at++] = topic.length & 255;
    packet.set(topic, at);
    at += topic.length + (this.#qos === 0 ? 0 : 2);
    packet.set(length === payload.length ? payload : payload.subarray(0, length), at);
    return packet;
  }

  start(): void {
    this.#redial.start();
  }

  pump(): void {
    const socket = this.#socket;
    if (socket === null || !this.#accepted) return;
    const outbox = this.#outbox;
    let message = outbox.peek();
    if (message === undefined) return;
    const several = outbox.length - outbox.inFlight > 1;
    if (several) socket.cork();
    for (; message !== undefined; message = outbox.peek()) {
      if (socket.writableLength > unwrittenBytesMax) break;
      if (outbox.inFlight >= windowMessages || outbox.bytesInFlight > windowBytes) break;
      if (this.#qos === 1) this.#identify(message.bytes, message);
      socket.write(message.bytes);
      this.#tally.departed(message);
      outbox.departed();
      if (this.#qos === 0) {
        outbox.settleOldest();
        this.#tally.unasked += message.ts.length;
      }
    }
    if (several) socket.uncork();
    this.#wrote(performance.now(), this.#qos === 1);
  }

  tick(nowMs: number): void {
    const socket = this.#socket;
    if (socket === null) return;
    if (!this.#accepted) {
      if (nowMs - this.#dialledMs > acceptMsMax) socket.destroy(new Error("no CONNACK"));
      return;
    }
    if (this.#askedMs > this.#readMs && nowMs - this.#askedMs > silentMsMax) {
      socket.destroy(new Error("no answer"));
    } else if (nowMs - this.#writtenMs > quietMsMax) {
      socket.write(pingreq);
      this.#wrote(nowMs, true);
    }
  }

  stop(): void {
    this.#redial.stop();
    if (this.#accepted) this.#socket?.end(disconnect);
    else this.#socket?.destroy();
  }

  abort(): void {
    this.#socket?.destroy();
  }

  #wrote(nowMs: number, wantsAnswer: boolean): void {
    this.#writtenMs = nowMs;
    if (wantsAnswer && this.#askedMs <= this.#readMs) this.#askedMs = nowMs;
  }

  /** [MQTT-3.3.1-1] and [MQTT-4.4.0-1]: DUP on what is sent again, under its old packet id. */
  #identify(packet: Buffer, message: { sends: number; packetId: number }): void {
    if (message.sends > 0) {
      packet[0] |= duplicate;
      return;
    }
    this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    message.packetId = this.#lastPacketId;
    const sizeBytes = packet[1] < 128 ? 1 : packet[2] < 128 ? 2 : 3;
    const topicBytes = packet.readUInt16BE(1 + sizeBytes);
    packet.writeUInt16BE(message.packetId, 1 + sizeBytes + 2 + topicBytes);
  }

  #dial(): void {
    this.#dialledMs = performance.now();
    const socket = connect({
      ...this.#target,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          if (this.#socket === socket) this.#read(readBuffer.subarray(0, length));
          return true;
        },
      },
    });
    this.#socket = socket;
    socket.on("connect", () => socket.write(connectPacket(this.#outbox.driver)));
    socket.on("drain", () => this.pump());
    socket.on("end", () => socket.destroy());
    socket.on("error", (error) => this.#tally.troubled("MQTT", error));
    socket.on("close", () => this.#closed());
  }

  #closed(): void {
    if (this.#accepted) this.#tally.connected--;
    this.#socket = null;
    this.#accepted = false;
    this.#carry = null;
    this.#outbox.rewind();
    this.#redial.lost();
  }

  #read(chunk: Buffer): void {
    this.#readMs = performance.now();
    const bytes = this.#carry === null ? chunk : Buffer.concat([this.#carry, chunk]);
    let at = 0;
    while (at < bytes.length) {
      const size = packetSize(bytes, at);
      if (size === 0 || at + size > bytes.length) break;
      this.#take(bytes, at);
      if (this.#socket === null) return;
      at += size;
    }
    this.#carry = at === bytes.length ? null : Buffer.from(bytes.subarray(at));
    if (this.#outbox.inFlight < windowMessages) this.pump();
  }

  #take(bytes: Buffer, at: number): void {
    const type = bytes[at] >> 4;
    if (type === connack) {
      const code = bytes[at + 3];
      if (code !== 0) {
        this.#socket?.destroy(new Error(`CONNACK ${code}: ${connackReasons[code] ?? "refused"}`));
        return;
      }
      this.#accepted = true;
      this.#tally.connected++;
      this.#wrote(this.#readMs, false);
      this.#redial.opened();
    } else if (type === puback) {
      const message = this.#outbox.settle((bytes[at + 2] << 8) | bytes[at + 3]);
      if (message === undefined) return;
      this.#redial.proven();
      this.#tally.answered(this.#outbox, message, null);
    }
  }
}

const connackReasons: Record<number, string> = {
  1: "protocol not supported",
  2: "client id refused",
  3: "server unavailable",
  4: "bad user name or password",
  5: "not authorised",
};

/** Clean session: what has to be sent again is kept here, not there. */
function connectPacket(clientId: string): Buffer {
  const id = Buffer.from(clientId);
  const head = Buffer.of(0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, keepAliveSeconds);
  const rest = head.length + 2 + id.length;
  const size = rest < 128 ? [rest] : [(rest & 127) | 128, rest >> 7];
  return Buffer.concat([
    Buffer.of(0x10, ...size),
    head,
    Buffer.of(id.length >> 8, id.length & 255),
    id,
  ]);
}

/** Bytes of the packet that begins at `at`; 0 while that cannot be told. */
function packetSize(bytes: Buffer, at: number): number {
  let rest = 0;
  for (let k = 1; k <= 4; k++) {
    if (at + k >= bytes.length) return 0;
    const byte = bytes[at + k];
    rest += (byte & 127) * 128 ** (k - 1);
    if (byte < 128) return 1 + k + rest;
  }
  return 0;
}
