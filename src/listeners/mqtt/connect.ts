/**
 * CONNECT, MQTT 3.1.1 §3.1, read from the packet's bytes:
 *
 *     name: len "MQTT" | level 4 | flags | keep alive | client id | [will topic, will message]
 *     | [user name] | [password]
 *
 * What the standard makes a protocol error closes without an answer; what it gives a return code
 * is answered with it. MQTT 5 clients read only their own CONNACK.
 */
import { isUtf8 } from "node:buffer";
import { limits } from "../../model/limits.ts";
import { topicFault } from "./topics.ts";

export type Connect = {
  clientId: string;
  clean: boolean;
  keepAliveSeconds: number;
  will: boolean;
  username: string | null;
};

/** `answer` is written before closing; null: close at once. */
export type ConnectRefusal = { answer: Uint8Array | null; reason: string };

const refusal = (code: number): Uint8Array => Uint8Array.of(0x20, 2, 0, code);
const BAD_PROTOCOL = refusal(1);
const BAD_CLIENT_ID = refusal(2);
export const UNAVAILABLE = refusal(3);
export const ACCEPTED = Uint8Array.of(0x20, 2, 0, 0);
/** MQTT 5: CONNACK 0x84, unsupported protocol version, no properties. */
const BAD_PROTOCOL_5 = Uint8Array.of(0x20, 3, 0, 0x84, 0);

const malformed = (reason: string): ConnectRefusal => ({ answer: null, reason });

/** `body` is what follows the fixed header. */
export function readConnect(body: Uint8Array): Connect | ConnectRefusal {
  const r = new Reader(body);
  const name = r.string();
  if (name !== "MQTT" && name !== "MQIsdp") return malformed("protocol_name");
  const level = r.byte();
  // [MQTT-3.1.2-2]; 3.1 has level 3, 5 has level 5
  if (level === 5) return { answer: BAD_PROTOCOL_5, reason: "protocol_version" };
  if (level !== 4 || name !== "MQTT") return { answer: BAD_PROTOCOL, reason: "protocol_version" };
  const flags = r.byte();
  const keepAliveSeconds = (r.byte() << 8) | r.byte();
  const will = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 3;
  if ((flags & 0x01) !== 0) return malformed("connect_flags"); // [MQTT-3.1.2-3]
  if (willQos === 3 || (!will && (flags & 0x38) !== 0)) return malformed("connect_flags");
  if ((flags & 0x80) === 0 && (flags & 0x40) !== 0) return malformed("connect_flags");
  const clean = (flags & 0x02) !== 0;

  const id = r.bytes();
  if (id === null) return malformed("connect_truncated");
  if (will) {
    const topic = r.bytes();
    if (topic === null || r.bytes() === null) return malformed("connect_truncated");
    if (topicFault(topic, 0, topic.length) !== null) return malformed("will_topic");
  }
  let username: string | null = null;
  if ((flags & 0x80) !== 0) {
    username = r.string();
    if (username === null) return malformed("connect_username");
  }
  if ((flags & 0x40) !== 0 && r.bytes() === null) return malformed("connect_truncated");
  if (!r.atEnd || r.failed) return malformed("connect_truncated");

  if (id.length === 0) {
    // [MQTT-3.1.3-8]: only a clean session may leave its name to us
    if (!clean) return { answer: BAD_CLIENT_ID, reason: "client_id" };
    return { clientId: "", clean, keepAliveSeconds, will, username };
  }
  if (!allowedClientId(id)) return { answer: BAD_CLIENT_ID, reason: "client_id" };
  return { clientId: Buffer.from(id).toString(), clean, keepAliveSeconds, will, username };
}

/** No control characters, no `/ + #`: client ids appear in log keys and in other tools' paths. */
function allowedClientId(id: Uint8Array): boolean {
  if (id.length > limits.clientIdBytesMax || !isUtf8(id)) return false;
  for (const b of id)
    if (b < 0x20 || b === 0x7f || b === 0x2f || b === 0x2b || b === 0x23) return false;
  return true;
}

class Reader {
  readonly #b: Uint8Array;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#b = bytes;
  }
  get atEnd(): boolean {
    return this.#at === this.#b.length;
  }
  byte(): number {
    if (this.#at >= this.#b.length) this.failed = true;
    return this.#b[this.#at++] ?? 0;
  }
  bytes(): Uint8Array | null {
    const length = (this.byte() << 8) | this.byte();
    if (this.failed || this.#at + length > this.#b.length) {
      this.failed = true;
      return null;
    }
    return this.#b.subarray(this.#at, (this.#at += length));
  }
  /** UTF-8 without U+0000 [MQTT-1.5.3-1, -2], else null. */
  string(): string | null {
    const bytes = this.bytes();
    if (bytes === null || !isUtf8(bytes) || bytes.includes(0)) return null;
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  }
}
