/**
 * What passes over the port between a worker's BrokerLink and the Broker: one message per loop
 * turn and direction, a Uint8Array of frames.
 *
 *     frame  = kind u8, flags u8, id u32, length u32, body            (little endian)
 *     attach   body = length of remote u16, remote, CONNECT packet     worker → broker
 *     data     body = whole packets                                    both ways
 *     detach   flags bit 0: after a DISCONNECT                         worker → broker
 *     drained  body = u32, bytes that have left for the socket         worker → broker
 *     consumed body = u32, bytes the broker has taken                  broker → worker
 *     close                                                            broker → worker
 *
 * `id` is the number of an attachment and never used again, so that bytes under way to a
 * connection that has gone cannot reach the one that has taken its place.
 */
import type { MessagePort } from "node:worker_threads";

export const kinds = {
  attach: 1,
  data: 2,
  detach: 3,
  drained: 4,
  consumed: 5,
  close: 6,
} as const;

/** Attach: the device has its CONNACK already. Detach: after a DISCONNECT. */
export const FLAG = 1;

const HEAD_BYTES = 10;
/** What the buffer shrinks back to after a burst. */
const KEPT_BYTES = 256 * 1024;

/** Collects the frames of a loop turn. */
export class Outbox {
  readonly #port: MessagePort;
  readonly #flush = (): void => this.flush();
  #buffer = Buffer.allocUnsafeSlow(4096);
  #length = 0;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** Bytes that are not posted yet. */
  get length(): number {
    return this.#length;
  }

  /** Copies `body`, or the several parts of one. */
  frame(kind: number, id: number, flags: number, ...body: Uint8Array[]): void {
    let bytes = 0;
    for (const part of body) bytes += part.length;
    let at = this.#reserve(HEAD_BYTES + bytes);
    const b = this.#buffer;
    b[at] = kind;
    b[at + 1] = flags;
    b.writeUInt32LE(id, at + 2);
    b.writeUInt32LE(bytes, at + 6);
    at += HEAD_BYTES;
    for (const part of body) {
      b.set(part, at);
      at += part.length;
    }
  }

  count(kind: number, id: number, n: number): void {
    const at = this.#reserve(HEAD_BYTES + 4);
    const b = this.#buffer;
    b[at] = kind;
    b[at + 1] = 0;
    b.writeUInt32LE(id, at + 2);
    b.writeUInt32LE(4, at + 6);
    b.writeUInt32LE(n, at + HEAD_BYTES);
  }

  flush(): void {
    if (this.#length === 0) return;
    const out = new Uint8Array(this.#length);
    out.set(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(KEPT_BYTES);
    this.#port.postMessage(out, [out.buffer]);
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    if (at === 0) setImmediate(this.#flush);
    this.#length = at + bytes;
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    return at;
  }
}

/** Calls `take` for each frame of a message; `body` is a view of it. */
export function eachFrame(
  message: Uint8Array,
  take: (kind: number, id: number, flags: number, body: Buffer) => void,
): void {
  const b = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  let at = 0;
  while (at < b.length) {
    const end = at + HEAD_BYTES + b.readUInt32LE(at + 6);
    take(b[at], b.readUInt32LE(at + 2), b[at + 1], b.subarray(at + HEAD_BYTES, end));
    at = end;
  }
}
