/**
 * The messages that sessions have not acknowledged, in memory and in the journal. Bounded in
 * number, bytes and age; the oldest of a session gives way.
 */
import { limits } from "../../model/limits.ts";
import type { Journal } from "./journal.ts";
import type { BrokerMetrics } from "./metrics.ts";
import type { Packet, Queued, Session } from "./session.ts";
import { encodeStored, packetOf, type Stored, type StoredHead } from "./stored.ts";

/** brokerId of messages read back from the journal; their counter is their `seq`. */
const JOURNALED = "journal";

export class Queues {
  readonly #journal: Journal;
  readonly #metrics: BrokerMetrics;
  readonly #now: () => number;
  #nextSeq = 1;
  size = 0;
  bytes = 0;

  constructor(journal: Journal, metrics: BrokerMetrics, now: () => number) {
    this.#journal = journal;
    this.#metrics = metrics;
    this.#now = now;
  }

  restore(session: Session, seq: number, stored: Stored | null): void {
    this.#nextSeq = Math.max(this.#nextSeq, seq + 1);
    const before = session.queue.find((m) => m.seq === seq);
    if (before !== undefined) this.#unqueue(session, before);
    if (stored === null) return;
    const { head, payload } = stored;
    const { messageId, pubrel } = head;
    const publish = { ...packetOf(stored), brokerId: JOURNALED, brokerCounter: seq, messageId };
    const packet = pubrel === true ? pubrelOf(messageId) : publish;
    const expires = head.expires ?? 0;
    this.#queue(session, { seq, expires, sentOn: 0, packet, bytes: payload.length });
  }

  /** `connected` clients may have more under way. */
  enqueue(session: Session, packet: Packet, connected: boolean): void {
    const expires = packet.messageExpiry ?? this.#now() + limits.commandAgeMsMax;
    const bytes = packet.payload.length;
    for (let m = session.overflow(connected, bytes); m; m = session.overflow(connected, bytes)) {
      this.drop(session, m);
      this.#metrics.droppedFull.value++;
    }
    if (this.bytes + bytes > limits.queuedBytesMax) {
      this.#metrics.droppedFull.value++;
      return;
    }
    // retain is 0 for a subscription that stood before [MQTT-3.3.1-9]
    const { topic, payload, qos, brokerId, brokerCounter } = packet;
    const kept: Packet = {
      cmd: "publish",
      topic,
      payload,
      qos,
      retain: false,
      dup: false,
      brokerId,
      brokerCounter,
      messageId: undefined,
    };
    const message = { seq: this.#nextSeq++, expires, sentOn: 0, packet: kept, bytes };
    this.#queue(session, message);
    this.#write(session, message);
  }

  /** A message gets its packet id before it is sent, or becomes a PUBREL. */
  async update(session: Session, packet: Packet): Promise<void> {
    const isPubrel = packet.cmd === "pubrel";
    const message = isPubrel ? session.byMessageId(packet.messageId) : session.byCounter(packet);
    // dropped for its age or for room while it was under way: it is sent, and not kept
    if (message === undefined) return;
    const kept = message.packet;
    if (isPubrel) {
      if (kept.cmd === "pubrel") return;
      message.packet = pubrelOf(packet.messageId);
    } else if (kept.messageId !== packet.messageId) {
      // aedes counts from a random number, blind to what an earlier connection left under way
      packet.messageId = session.freeMessageId(packet.messageId as number);
      kept.messageId = packet.messageId;
    } else return;
    // exactly once needs the packet id after a restart; QoS 1 may be sent under another
    if (!isPubrel && kept.qos !== 2) return;
    this.#write(session, message);
    await this.#journal.flushed();
  }

  /** The client has acknowledged it. */
  clear(session: Session, packet: Packet): Packet | undefined {
    const message =
      packet.messageId === undefined
        ? session.byCounter(packet)
        : session.byMessageId(packet.messageId);
    if (message !== undefined) this.drop(session, message);
    return message?.packet;
  }

  /** What is not sent on the session's connection yet, also what comes meanwhile; in order. */
  *outgoing(session: Session): Generator<Packet> {
    const { connection } = session;
    let last = 0;
    const isNext = (m: Queued): boolean =>
      m.seq > last && (connection === 0 || m.sentOn !== connection);
    for (let m = session.queue.find(isNext); m; m = session.queue.find(isNext)) {
      last = m.seq;
      if (this.#isExpired(m)) {
        this.#expire(session, m);
        continue;
      }
      if (m.sentOn > 0) m.packet.dup = true; // [MQTT-3.3.1-1]
      m.sentOn = connection;
      yield m.packet;
    }
  }

  /** Whether a live delivery on this connection is due, and not sent there already. */
  isFirst(session: Session, connection: number, packet: Packet): boolean {
    if (session.connection !== connection) return false; // a newer one takes it from the queue
    const message = session.byCounter(packet);
    if (message === undefined) return true;
    if (message.sentOn === connection) return false;
    message.sentOn = connection;
    return true;
  }

  expire(session: Session): void {
    if (session.queue.length === 0) return;
    for (const m of session.queue.filter((m) => this.#isExpired(m))) this.#expire(session, m);
  }

  drop(session: Session, message: Queued): void {
    if (this.#unqueue(session, message)) this.#journal.remove(`q/${session.id}/${message.seq}`);
  }

  dropAll(session: Session): void {
    for (const m of session.queue.slice()) this.drop(session, m);
  }

  #isExpired(message: Queued): boolean {
    // half of a QoS 2 exchange is brought to its end whatever its age
    return message.expires <= this.#now() && message.packet.cmd !== "pubrel";
  }

  #expire(session: Session, message: Queued): void {
    this.drop(session, message);
    this.#metrics.droppedAge.value++;
  }

  #queue(session: Session, message: Queued): void {
    session.push(message);
    this.size++;
    this.bytes += message.bytes;
  }

  #unqueue(session: Session, message: Queued): boolean {
    if (!session.remove(message)) return false;
    this.size--;
    this.bytes -= message.bytes;
    return true;
  }

  #write(session: Session, { seq, expires, packet }: Queued): void {
    const { cmd, topic, qos, messageId, payload } = packet;
    const head: StoredHead = { expires, topic, qos };
    if (cmd === "pubrel") head.pubrel = true;
    if (cmd === "pubrel" || qos === 2) head.messageId = messageId;
    this.#journal.set(`q/${session.id}/${seq}`, encodeStored(head, payload));
  }
}

function pubrelOf(messageId: number | undefined): Packet {
  return { cmd: "pubrel", messageId } as Packet;
}
