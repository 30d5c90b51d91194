import type { Link } from "./link.ts";
import { Message } from "./outbox.ts";
import type { Outbox } from "./outbox.ts";
import type { PingWriter } from "./ping.ts";
import type { Tally } from "./tally.ts";

type Ping = { bytes: Buffer; seq: number; ts: number };

/** One driver's phone: puts pings into messages, keeps them while there is no radio. */
export class Device {
  readonly outbox: Outbox;
  readonly link: Link;
  readonly #tally: Tally;
  readonly #batch: number;
  readonly #heldMax: number;
  /** Pings that the message being filled is to hold. */
  #room: number;
  /** Measured in a tunnel, in order. */
  #held: Ping[] = [];
  /** The message being filled. */
  #filling: Ping[] = [];
  #seq = 0;

  /**
   * `first`: pings of the first message, from 1 to `batch`, so that the messages of a fleet are
   * spread evenly over time.
   */
  constructor(
    outbox: Outbox,
    link: Link,
    options: { tally: Tally; batch: number; first: number; heldMax: number },
  ) {
    this.outbox = outbox;
    this.link = link;
    this.#tally = options.tally;
    this.#batch = options.batch;
    this.#room = options.first;
    this.#heldMax = options.heldMax;
  }

  nextSeq(): number {
    return ++this.#seq;
  }

  /** Takes the ping just written; `dueMs` is when it was meant to be sent. */
  measured(writer: PingWriter, ts: number, radio: boolean, dueMs: number): void {
    const seq = this.#seq;
    if (!radio) {
      this.#held.push({ bytes: writer.copy(), seq, ts });
      if (this.#held.length > this.#heldMax) {
        this.#held.shift();
        this.#tally.dropped++;
      }
      return;
    }
    this.#release(dueMs);
    if (this.#batch === 1) {
      this.#post(this.link.encode(writer.bytes, writer.length), seq, [ts], dueMs);
    } else {
      this.#fill({ bytes: writer.copy(), seq, ts }, dueMs);
    }
    this.link.pump();
  }

  /** What happened besides driving; a transport that takes no events says nothing of it. */
  event(payload: Buffer, dueMs: number): void {
    const bytes = this.link.encodeEvent(payload);
    if (bytes === null) return;
    this.#post(bytes, this.#seq, [], dueMs);
    this.link.pump();
  }

  /** Sends everything: the fleet stops. */
  flush(dueMs: number): void {
    this.#release(dueMs);
    if (this.#filling.length > 0) this.#send(dueMs);
    this.link.pump();
  }

  /** Out of the tunnel: what was measured there goes first. */
  #release(dueMs: number): void {
    if (this.#held.length === 0) return;
    for (const ping of this.#held) this.#fill(ping, dueMs);
    this.#held = [];
  }

  #fill(ping: Ping, dueMs: number): void {
    const last = this.#filling.at(-1);
    // A message holds consecutive pings: after a loss a new one begins.
    if (last !== undefined && last.seq + 1 !== ping.seq) this.#send(dueMs);
    this.#filling.push(ping);
    if (this.#filling.length >= this.#room) this.#send(dueMs);
  }

  #send(dueMs: number): void {
    const pings = this.#filling;
    this.#filling = [];
    this.#room = this.#batch;
    const ts = pings.map((ping) => ping.ts);
    const payload = pings.length === 1 && this.#batch === 1 ? pings[0].bytes : array(pings);
    this.#post(this.link.encode(payload, payload.length), pings[0].seq, ts, dueMs);
  }

  #post(bytes: Buffer, firstSeq: number, ts: number[], dueMs: number): void {
    const lost = this.outbox.push(new Message(bytes, firstSeq, ts, dueMs));
    if (lost !== null) this.#tally.dropped += lost.ts.length;
  }
}

/** `[ping,ping,…]` */
function array(pings: Ping[]): Buffer {
  let length = 1;
  for (const ping of pings) length += ping.bytes.length + 1;
  const text = Buffer.allocUnsafe(length);
  let at = 0;
  for (const ping of pings) {
    text[at++] = at === 1 ? 0x5b : 0x2c;
    at += ping.bytes.copy(text, at);
  }
  text[at] = 0x5d;
  return text;
}
