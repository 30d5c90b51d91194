/** MQTT 3.1.1 packets as bytes: what the lane needs to know of them, and nothing more. */

/** Flags that a client's packet types must have [MQTT-2.2.2-1, -2]; -1: never from a client. */
export const HEADER_FLAGS = [-1, -1, -1, -1, 0, 0, 2, 0, 2, -1, 2, -1, 0, -1, 0, -1];

/** Where the packet's body begins; 0: more bytes are needed; -1: not a length [MQTT §2.2.3]. */
export function bodyStart(b: Uint8Array, at: number, end: number): number {
  for (let i = at + 1; i < at + 5; i++) {
    if (i >= end) return 0;
    if (b[i] < 0x80) return b[i] === 0 && i > at + 1 ? -1 : i + 1;
  }
  return -1;
}

export function remainingLength(b: Uint8Array, at: number): number {
  let length = 0;
  let shift = 0;
  for (let i = at + 1; ; i++, shift += 7) {
    length |= (b[i] & 0x7f) << shift;
    if (b[i] < 0x80) return length;
  }
}

export function same(topic: Uint8Array, b: Uint8Array, start: number, end: number): boolean {
  if (topic.length !== end - start) return false;
  // drivers differ at the end of the id, so look from there
  for (let i = topic.length - 1, j = end - 1; i >= 0; i--, j--) {
    if (topic[i] !== b[j]) return false;
  }
  return true;
}

export const ack = (type: number, packetId: number): Uint8Array =>
  Uint8Array.of(type, 2, packetId >> 8, packetId & 0xff);

/** The same CONNECT with a client id where it had an empty one. */
export function withClientId(connect: Uint8Array, clientId: string): Uint8Array {
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

/** A packet that came in pieces. It grows with what arrives, not with what its header claims. */
export class PartialPacket {
  #bytes: Buffer;
  #length: number;

  constructor(b: Buffer, start: number, end: number) {
    this.#bytes = Buffer.from(b.subarray(start, end));
    this.#length = end - start;
  }

  /** What came so far: the whole packet once `take` has said so. */
  get bytes(): Buffer {
    return this.#bytes;
  }
  get length(): number {
    return this.#length;
  }
  /** Where the body begins, as `bodyStart` says. */
  get body(): number {
    return bodyStart(this.#bytes, 0, this.#length);
  }
  /** Bytes of the whole packet; one more than there are while its length is not known. */
  get total(): number {
    const { body } = this;
    return body === 0 ? this.#length + 1 : body + remainingLength(this.#bytes, 0);
  }

  /** Takes what is missing, at most `b[at, end)`; returns how much it took. */
  take(b: Buffer, at: number, end: number): number {
    const { total } = this;
    const bytes = Math.min(total - this.#length, end - at);
    const length = this.#length + bytes;
    if (length > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.min(total, Math.max(64, length * 2)));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    b.copy(this.#bytes, this.#length, at, at + bytes);
    this.#length = length;
    return bytes;
  }
}
