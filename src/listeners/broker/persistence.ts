/**
 * Sessions, queued messages, retained messages and wills, in the shape aedes asks for
 * (aedes-persistence 11): in memory, and journaled to the compacted topic `__mqtt`:
 *
 *     s/{clientId}          session and its subscriptions
 *     q/{clientId}/{seq}    a message the session has not acknowledged
 *     r/{topic}             retained message
 *     w/{clientId}          will of a connected client
 *     o/commands/{n}        next command to deliver (commands.ts)
 *
 * What aedes acknowledges after a promise of this class is in the log when it resolves. Packet ids
 * of QoS 2 messages from clients are kept in memory only.
 */
import { Readable } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { limits } from "../../model/limits.ts";
import { FilterIndex } from "./filter-index.ts";
import type { Journal } from "./journal.ts";
import { Session, type Packet, type Queued, type Subscription } from "./session.ts";
import { decodeStored, encodeStored, type StoredHead } from "./stored.ts";
import { isWild, matches } from "./topics.ts";

type ClientRef = { id: string };
export type Will = {
  topic: string;
  payload: Buffer;
  qos: number;
  retain: boolean;
  clientId?: string;
  brokerId?: string;
};
type AedesRef = { id: string; clients?: Record<string, unknown> };

/** brokerId of messages read back from the journal; their counter is their `seq`. */
const JOURNALED = "journal";
const SCAN_TURN = 2000;

export class Persistence {
  readonly #journal: Journal;
  readonly #now: () => number;
  readonly #sessions = new Map<string, Session>();
  readonly #subscribers = new FilterIndex<Subscription>();
  readonly #retained = new Map<string, Packet>();
  readonly #incoming = new Map<string, Set<number>>();
  readonly #wills = new Map<string, Will>();
  readonly #adding = new WeakMap<object, Promise<void>>();
  /** Subscriptions of a SUBSCRIBE that were answered 0x80: aedes stores whole packets. */
  readonly refused = new WeakSet<object>();
  readonly counts = {
    queuedDropped: 0,
    queuedExpired: 0,
    retainedRefused: 0,
    sessionsEvicted: 0,
  };
  #broker: AedesRef = { id: "" };
  #nextSeq = 1;
  #nextConnection = 1;
  #retainedBytes = 0;
  #queuedBytes = 0;
  #queued = 0;

  constructor(journal: Journal, now: () => number) {
    this.#journal = journal;
    this.#now = now;
  }

  get broker(): AedesRef {
    return this.#broker;
  }

  get sizes(): { sessions: number; queued: number; queuedBytes: number; retained: number } {
    return {
      sessions: this.#sessions.size,
      queued: this.#queued,
      queuedBytes: this.#queuedBytes,
      retained: this.#retained.size,
    };
  }

  async setup(broker: AedesRef): Promise<void> {
    this.#broker = broker;
  }

  async destroy(): Promise<void> {}

  // --- from the journal, before aedes runs ---

  /** Takes a record of `__mqtt` other than an offset. The last one of a key is its state. */
  restore(key: string, value: Uint8Array | null): void {
    const kind = key.slice(0, 2);
    const name = key.slice(2);
    const stored = value === null ? null : decodeStored(value);
    if (kind === "s/") this.#restoreSession(name, stored?.head ?? null);
    else if (kind === "q/") this.#restoreQueued(name, stored);
    else if (stored === null) {
      if (kind === "r/") this.#forgetRetained(name);
      if (kind === "w/") this.#wills.delete(name);
    } else if (kind === "r/") this.#keepRetained(packetOf(stored.head, stored.payload, name));
    else if (kind === "w/") {
      const { topic, qos, retain } = packetOf(stored.head, stored.payload);
      this.#wills.set(name, { topic, payload: stored.payload, qos, retain });
    }
  }

  /** After the last record: queues in order, without what is too old or has lost its session. */
  restored(): void {
    for (const [id, session] of this.#sessions) {
      // messages of sessions that ended while a later one was being written
      if (session.connection < 0) {
        for (const m of session.queue.slice()) this.#drop(session, m);
        this.#sessions.delete(id);
      } else session.queue.sort((a, b) => a.seq - b.seq);
    }
    this.expire();
  }

  /** Wills of clients that were connected when the process died; each is handed out once. */
  takeWills(): [clientId: string, will: Will][] {
    const wills = [...this.#wills];
    for (const [id] of wills) this.#forgetWill(id);
    return wills;
  }

  #restoreSession(id: string, head: StoredHead | null): void {
    const session = this.#session(id);
    for (const s of session.subscriptions.values()) this.#subscribers.remove(s.topic, s);
    session.subscriptions.clear();
    // -1 until its own record has been seen: partitions are read one after the other
    session.connection = head === null ? -1 : 0;
    if (head === null || !Array.isArray(head.subscriptions)) return;
    for (const s of head.subscriptions as Subscription[]) this.#subscribe(session, s);
  }

  #restoreQueued(name: string, stored: { head: StoredHead; payload: Buffer } | null): void {
    const slash = name.lastIndexOf("/");
    const seq = Number(name.slice(slash + 1));
    const id = name.slice(0, slash);
    if (!Number.isSafeInteger(seq)) return;
    this.#nextSeq = Math.max(this.#nextSeq, seq + 1);
    let session = this.#sessions.get(id);
    const before = session?.queue.find((m) => m.seq === seq);
    if (session !== undefined && before !== undefined) this.#unqueue(session, before);
    if (stored === null) return;
    if (session === undefined) {
      session = this.#session(id);
      session.connection = -1;
    }
    const { head, payload } = stored;
    const packet = packetOf(head, payload);
    packet.brokerId = JOURNALED;
    packet.brokerCounter = seq;
    if (head.messageId !== undefined) packet.messageId = head.messageId;
    if (head.pubrel === true) packet.cmd = "pubrel";
    const expires = head.expires ?? 0;
    this.#queue(session, { seq, expires, sentOn: 0, packet, bytes: payload.length });
  }

  // --- sessions ---

  hasSession(clientId: string): boolean {
    return this.#sessions.has(clientId);
  }

  /** A client has been let in. Returns whether it finds a session [MQTT-3.2.2-2]. */
  begin(clientId: string, clean: boolean): boolean {
    const known = this.#sessions.get(clientId);
    if (clean) return false; // aedes ends the session: cleanSubscriptions
    if (known === undefined) this.#makeRoom();
    const session = known ?? this.#session(clientId);
    session.connection = this.#nextConnection++;
    // the map is in the order of the last connection: the first is the one to evict
    this.#sessions.delete(clientId);
    this.#sessions.set(clientId, session);
    if (known === undefined) this.#writeSession(session);
    return known !== undefined;
  }

  #makeRoom(): void {
    if (this.#sessions.size < limits.sessionsMax) return;
    for (const session of this.#sessions.values()) {
      if (this.#isConnected(session.id)) continue;
      this.#end(session);
      this.counts.sessionsEvicted++;
      return;
    }
  }

  #isConnected(clientId: string): boolean {
    return this.#broker.clients?.[clientId] !== undefined;
  }

  #session(id: string): Session {
    let session = this.#sessions.get(id);
    if (session === undefined) this.#sessions.set(id, (session = new Session(id)));
    return session;
  }

  #writeSession(session: Session): void {
    const subscriptions = [...session.subscriptions.values()].map(({ clientId: _, ...s }) => s);
    this.#journal.set(`s/${session.id}`, encodeStored({ subscriptions }));
  }

  #end(session: Session): void {
    for (const m of session.queue.slice()) this.#drop(session, m);
    for (const s of session.subscriptions.values()) this.#subscribers.remove(s.topic, s);
    this.#sessions.delete(session.id);
    this.#incoming.delete(session.id);
    this.#journal.remove(`s/${session.id}`);
  }

  // --- subscriptions ---

  /** aedes calls it once for each granted filter with the whole packet's. */
  addSubscriptions(client: ClientRef, subs: Omit<Subscription, "clientId">[]): Promise<void> {
    let adding = this.#adding.get(subs);
    if (adding === undefined) {
      adding = this.#addSubscriptions(client, subs).finally(() => this.#adding.delete(subs));
      this.#adding.set(subs, adding);
    }
    return adding;
  }

  async #addSubscriptions(
    client: ClientRef,
    subs: Omit<Subscription, "clientId">[],
  ): Promise<void> {
    await Promise.resolve(); // by then each filter of the packet has been granted or refused
    const session = this.#session(client.id);
    for (const sub of subs) if (!this.refused.has(sub)) this.#subscribe(session, sub);
    this.#writeSession(session);
    await this.#journal.flushed();
  }

  #subscribe(session: Session, sub: Omit<Subscription, "clientId">): void {
    const before = session.subscriptions.get(sub.topic);
    if (before !== undefined) this.#subscribers.remove(sub.topic, before);
    const kept: Subscription = { clientId: session.id, topic: sub.topic, qos: sub.qos };
    if (sub.rh !== undefined) kept.rh = sub.rh;
    if (sub.rap !== undefined) kept.rap = sub.rap;
    if (sub.nl !== undefined) kept.nl = sub.nl;
    if (sub.subscriptionIdentifier !== undefined) {
      kept.subscriptionIdentifier = sub.subscriptionIdentifier;
    }
    session.subscriptions.set(sub.topic, kept);
    if (sub.qos > 0) this.#subscribers.add(sub.topic, kept);
  }

  async removeSubscriptions(client: ClientRef, topics: string[]): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return;
    for (const topic of topics) {
      const sub = session.subscriptions.get(topic);
      if (sub === undefined) continue;
      this.#subscribers.remove(topic, sub);
      session.subscriptions.delete(topic);
    }
    this.#writeSession(session);
    await this.#journal.flushed();
  }

  async subscriptionsByClient(client: ClientRef): Promise<Omit<Subscription, "clientId">[]> {
    const subs = this.#sessions.get(client.id)?.subscriptions.values() ?? [];
    return [...subs].map(({ clientId: _, ...sub }) => sub);
  }

  async subscriptionsByTopic(topic: string): Promise<Subscription[]> {
    return this.#subscribers.match(topic);
  }

  async cleanSubscriptions(client: ClientRef): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session !== undefined) this.#end(session);
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    let clientsCount = 0;
    for (const s of this.#sessions.values()) if (s.subscriptions.size > 0) clientsCount++;
    return { subsCount: this.#subscribers.size, clientsCount };
  }

  getClientList(topic: string): Readable {
    const ids: string[] = [];
    for (const s of this.#sessions.values()) if (s.subscriptions.has(topic)) ids.push(s.id);
    return Readable.from(ids);
  }

  /** Whether a message to this topic would be queued for somebody. */
  hasSubscriber(topic: string): boolean {
    return this.#subscribers.match(topic).length > 0;
  }

  // --- queued messages ---

  outgoingEnqueue(sub: { clientId: string; qos?: number }, packet: Packet): Promise<void> {
    return this.outgoingEnqueueCombi([sub], packet);
  }

  async outgoingEnqueueCombi(
    subs: { clientId: string; qos?: number }[],
    packet: Packet,
  ): Promise<void> {
    if (subs.length === 0) return;
    // a client with several matching filters gets one message, at the best QoS [MQTT-3.3.5-1]
    const best = new Map<string, number>();
    for (const { clientId, qos } of subs) {
      best.set(clientId, Math.max(best.get(clientId) ?? 0, qos ?? packet.qos));
    }
    // the packet's bytes are a view of everything its sender sent in that moment
    const payload = Buffer.from(packet.payload ?? "");
    const added: [Session, Queued][] = [];
    for (const [clientId, granted] of best) {
      const session = this.#session(clientId);
      const qos = Math.min(packet.qos, granted);
      const message = this.#enqueue(session, { ...packet, qos, payload });
      if (message !== null) added.push([session, message]);
    }
    try {
      await this.#journal.flushed();
    } catch (error) {
      // its sender is not acknowledged and will send it again
      for (const [session, message] of added) this.#drop(session, message);
      throw error;
    }
  }

  #enqueue(session: Session, packet: Packet): Queued | null {
    const now = this.#now();
    const expires = packet.messageExpiry ?? now + limits.commandAgeMsMax;
    const bytes = packet.payload.length;
    const connected = this.#isConnected(session.id);
    for (let m = session.overflow(connected, bytes); m; m = session.overflow(connected, bytes)) {
      this.#drop(session, m);
      this.counts.queuedDropped++;
    }
    if (this.#queuedBytes + bytes > limits.queuedBytesMax) {
      this.counts.queuedDropped++;
      return null;
    }
    // retain is 0 for a subscription that stood before [MQTT-3.3.1-9]
    const kept: Packet = { ...packet, retain: false, dup: false, messageId: undefined };
    delete kept.messageExpiry;
    const message = { seq: this.#nextSeq++, expires, sentOn: 0, packet: kept, bytes };
    this.#queue(session, message);
    this.#writeQueued(session, message);
    return message;
  }

  #queue(session: Session, message: Queued): void {
    session.push(message);
    this.#queued++;
    this.#queuedBytes += message.bytes;
  }

  #unqueue(session: Session, message: Queued): boolean {
    if (!session.remove(message)) return false;
    this.#queued--;
    this.#queuedBytes -= message.bytes;
    return true;
  }

  #drop(session: Session, message: Queued): void {
    if (this.#unqueue(session, message)) this.#journal.remove(`q/${session.id}/${message.seq}`);
  }

  #writeQueued(session: Session, { seq, expires, packet }: Queued): void {
    const head: StoredHead = { expires, topic: packet.topic, qos: packet.qos };
    if (packet.qos === 2 && packet.messageId !== undefined) head.messageId = packet.messageId;
    if (packet.cmd === "pubrel") head.pubrel = true;
    const payload = packet.cmd === "pubrel" ? undefined : packet.payload;
    this.#journal.set(`q/${session.id}/${seq}`, encodeStored(head, payload));
  }

  /** A message gets its packet id before it is sent, or becomes a PUBREL. */
  async outgoingUpdate(client: ClientRef, packet: Packet): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session === undefined) return;
    const isPubrel = packet.cmd === "pubrel";
    const message = isPubrel
      ? session.byMessageId(packet.messageId as number)
      : session.byCounter(packet.brokerId, packet.brokerCounter);
    // dropped for its age or for room while it was under way: it is sent, and not kept
    if (message === undefined) return;
    message.sentOn = session.connection;
    const kept = message.packet;
    if (isPubrel) {
      if (kept.cmd === "pubrel") return;
      message.packet = { ...packet, qos: 2, brokerId: kept.brokerId };
      message.packet.brokerCounter = kept.brokerCounter;
    } else if (kept.messageId !== packet.messageId) {
      // aedes counts from a random number, blind to what an earlier connection left under way
      packet.messageId = session.freeMessageId(packet.messageId as number);
      kept.messageId = packet.messageId;
    } else return;
    // exactly once needs the packet id after a restart; QoS 1 may be sent under another
    if (message.packet.qos !== 2) return;
    this.#writeQueued(session, message);
    await this.#journal.flushed();
  }

  /** Whether this message has been sent on the client's present connection. */
  isSent(client: ClientRef, packet: Packet): boolean {
    const session = this.#sessions.get(client.id);
    const message = session?.byCounter(packet.brokerId, packet.brokerCounter);
    return message !== undefined && message.sentOn === session?.connection;
  }

  async outgoingClearMessageId(client: ClientRef, packet: Packet): Promise<Packet | undefined> {
    const session = this.#sessions.get(client.id);
    const message =
      packet.messageId === undefined
        ? session?.byCounter(packet.brokerId, packet.brokerCounter)
        : session?.byMessageId(packet.messageId);
    if (session === undefined || message === undefined) return undefined;
    this.#drop(session, message);
    return message.packet;
  }

  outgoingStream(client: ClientRef): Readable {
    const session = this.#sessions.get(client.id);
    return Readable.from(session === undefined ? [] : this.#outgoing(session));
  }

  *#outgoing(session: Session): Generator<Packet> {
    const { connection } = session;
    for (const message of session.queue.slice()) {
      if (this.#isExpired(message)) this.#expire(session, message);
      // a live delivery may have been quicker
      else if (connection > 0 && message.sentOn === connection) continue;
      else if (session.queue.includes(message)) {
        if (message.sentOn > 0) message.packet.dup = true; // [MQTT-3.3.1-1]
        yield message.packet;
      }
    }
  }

  #isExpired(message: Queued): boolean {
    // half of a QoS 2 exchange is brought to its end whatever its age
    return message.expires <= this.#now() && message.packet.cmd !== "pubrel";
  }

  #expire(session: Session, message: Queued): void {
    this.#drop(session, message);
    this.counts.queuedExpired++;
  }

  /** Drops what has waited too long; to be called now and then. */
  expire(): void {
    for (const session of this.#sessions.values()) {
      if (session.queue.length === 0) continue;
      for (const m of session.queue.filter((m) => this.#isExpired(m))) this.#expire(session, m);
    }
  }

  // --- QoS 2 from clients: only the ids, aedes asks whether it has seen one ---

  async incomingStorePacket(client: ClientRef, packet: { messageId?: number }): Promise<void> {
    let ids = this.#incoming.get(client.id);
    if (ids === undefined) this.#incoming.set(client.id, (ids = new Set()));
    ids.add(packet.messageId as number);
  }

  async incomingGetPacket(
    client: ClientRef,
    packet: { messageId?: number },
  ): Promise<{ messageId: number }> {
    const messageId = packet.messageId as number;
    if (this.#incoming.get(client.id)?.has(messageId) !== true) throw new Error("no such packet");
    return { messageId };
  }

  async incomingDelPacket(client: ClientRef, packet: { messageId?: number }): Promise<void> {
    const ids = this.#incoming.get(client.id);
    if (ids?.delete(packet.messageId as number) !== true) throw new Error("no such packet");
    if (ids.size === 0) this.#incoming.delete(client.id);
  }

  async cleanIncoming(client: ClientRef): Promise<void> {
    this.#incoming.delete(client.id);
  }

  // --- retained messages ---

  async storeRetained(packet: Packet): Promise<void> {
    const { topic } = packet;
    if (packet.payload.length === 0) {
      if (!this.#forgetRetained(topic)) return; // [MQTT-3.3.1-10]
      this.#journal.remove(`r/${topic}`);
    } else {
      const grows = packet.payload.length - (this.#retained.get(topic)?.payload.length ?? 0);
      const full =
        (this.#retained.size >= limits.retainedMax && !this.#retained.has(topic)) ||
        this.#retainedBytes + grows > limits.retainedBytesMax;
      if (full) {
        this.counts.retainedRefused++;
        return;
      }
      const kept = { ...packet, payload: Buffer.from(packet.payload) };
      this.#keepRetained(kept);
      this.#journal.set(`r/${topic}`, encodeStored({ qos: packet.qos }, kept.payload));
    }
    if (packet.qos > 0) await this.#journal.flushed();
  }

  #keepRetained(packet: Packet): void {
    this.#forgetRetained(packet.topic);
    this.#retained.set(packet.topic, packet);
    this.#retainedBytes += packet.payload.length;
  }

  #forgetRetained(topic: string): boolean {
    const packet = this.#retained.get(topic);
    if (packet === undefined) return false;
    this.#retainedBytes -= packet.payload.length;
    return this.#retained.delete(topic);
  }

  createRetainedStream(pattern: string): Readable {
    return this.createRetainedStreamCombi([pattern]);
  }

  createRetainedStreamCombi(patterns: string[]): Readable {
    return Readable.from(this.#retainedFor(patterns));
  }

  async *#retainedFor(patterns: string[]): AsyncGenerator<Packet> {
    const wild = patterns.filter(isWild);
    for (const pattern of patterns) {
      const packet = this.#retained.get(pattern);
      if (packet !== undefined) yield packet;
    }
    if (wild.length === 0) return;
    let tested = 0;
    for (const [topic, packet] of this.#retained) {
      tested += wild.length;
      if (tested > SCAN_TURN) {
        tested = 0;
        await nextTurn(); // ten thousand topics are not searched in one go
      }
      if (!patterns.includes(topic) && wild.some((w) => matches(w, topic))) yield packet;
    }
  }

  // --- wills ---

  async putWill(client: ClientRef, will: Will): Promise<void> {
    will.clientId = client.id;
    will.brokerId = this.#broker.id;
    will.payload = Buffer.from(will.payload); // it was a view of the CONNECT
    this.#wills.set(client.id, will);
    const { topic, qos, retain } = will;
    this.#journal.set(`w/${client.id}`, encodeStored({ topic, qos, retain }, will.payload));
    await this.#journal.flushed();
  }

  async getWill(client: ClientRef): Promise<Will | undefined> {
    return this.#wills.get(client.id);
  }

  /** Never rejects: aedes does not look. */
  async delWill(client: ClientRef): Promise<Will | undefined> {
    const will = this.#wills.get(client.id);
    if (will !== undefined) this.#forgetWill(client.id);
    return will;
  }

  #forgetWill(clientId: string): void {
    this.#wills.delete(clientId);
    this.#journal.remove(`w/${clientId}`);
  }

  /** Wills of brokers that are not among the given: aedes would publish those. */
  streamWill(brokers?: Record<string, unknown>): Readable {
    const others = [...this.#wills.values()].filter(
      (w) =>
        brokers === undefined || (w.brokerId !== this.#broker.id && !brokers[w.brokerId ?? ""]),
    );
    return Readable.from(others);
  }
}

function packetOf(head: StoredHead, payload: Buffer, topic?: string): Packet {
  const { qos = 0, retain = topic !== undefined } = head;
  const name = topic ?? head.topic ?? "";
  return { cmd: "publish", topic: name, payload, qos, retain, dup: false };
}
