/**
 * The broker's state in the shape aedes asks for (aedes-persistence 11): in memory, and journaled
 * to the compacted topic `__mqtt`:
 *
 *     s/{clientId}          session and its subscriptions
 *     q/{clientId}/{seq}    a message the session has not acknowledged
 *     r/{topic}             retained message
 *     w/{clientId}          will of a connected client
 *     o/commands/{n}        next command to deliver (commands.ts)
 *
 * A SUBACK, UNSUBACK and CONNACK wait for promises of this class, which resolve when the change is
 * in the log. Messages are written behind, so that a client may have many under way: whoever
 * acknowledges one waits for `stored` first. Packet ids of QoS 2 messages from clients are kept in
 * memory only.
 */
import { Readable } from "node:stream";
import type { Journal } from "./journal.ts";
import type { BrokerMetrics } from "./metrics.ts";
import { Retained } from "./retained.ts";
import type { Packet, Subscription } from "./session.ts";
import { Sessions, type Wanted } from "./sessions.ts";
import { decodeStored } from "./stored.ts";
import { Wills, type Will } from "./wills.ts";

type ClientRef = { id: string };
type Identified = { messageId?: number };
type AedesRef = { id: string; clients?: Record<string, unknown> };

export class Persistence {
  readonly #journal: Journal;
  readonly #sessions: Sessions;
  readonly #retained: Retained;
  readonly #wills: Wills;
  /** QoS 2 messages from clients before PUBREL: their packet ids. */
  readonly #incoming = new Map<string, Set<number>>();
  readonly #adding = new WeakMap<object, Promise<void>>();
  /** Subscriptions of a SUBSCRIBE that were answered 0x80: aedes stores whole packets. */
  readonly refused = new WeakSet<object>();
  broker: AedesRef = { id: "" };

  constructor(journal: Journal, metrics: BrokerMetrics, now: () => number) {
    const isConnected = (id: string): boolean => this.broker.clients?.[id] !== undefined;
    this.#journal = journal;
    this.#sessions = new Sessions(journal, metrics, now, isConnected);
    this.#retained = new Retained(journal, metrics);
    this.#wills = new Wills(journal);
  }

  get sizes(): { sessions: number; queued: number; queuedBytes: number; retained: number } {
    const { queues, size } = this.#sessions;
    const { size: queued, bytes: queuedBytes } = queues;
    return { sessions: size, queued, queuedBytes, retained: this.#retained.size };
  }

  async setup(broker: AedesRef): Promise<void> {
    this.broker = broker;
  }

  async destroy(): Promise<void> {}

  /** Takes a record of `__mqtt` before aedes runs; the last one of a key is its state. */
  restore(key: string, value: Uint8Array | null): void {
    const stored = value === null ? null : decodeStored(value);
    const name = key.slice(2);
    if (key.startsWith("s/")) this.#sessions.restoreSession(name, stored);
    else if (key.startsWith("q/")) this.#sessions.restoreQueued(name, stored);
    else if (key.startsWith("r/")) this.#retained.restore(name, stored);
    else if (key.startsWith("w/")) this.#wills.restore(name, stored);
  }

  restored(): void {
    this.#sessions.restored();
  }

  expire(): void {
    this.#sessions.expire();
  }

  // --- sessions ---

  hasSession(clientId: string): boolean {
    return this.#sessions.get(clientId) !== undefined;
  }

  /** A client has been let in. `present`: it finds a session [MQTT-3.2.2-2]. */
  begin(clientId: string, clean: boolean): { present: boolean; connection: number } {
    if (clean) return { present: false, connection: 0 }; // see cleanSubscriptions
    return this.#sessions.begin(clientId);
  }

  /** aedes calls it once for each granted filter with the whole packet's. */
  addSubscriptions(client: ClientRef, subs: Wanted[]): Promise<void> {
    let adding = this.#adding.get(subs);
    if (adding === undefined) {
      adding = this.#add(client, subs).finally(() => this.#adding.delete(subs));
      this.#adding.set(subs, adding);
    }
    return adding;
  }

  async #add(client: ClientRef, subs: Wanted[]): Promise<void> {
    await Promise.resolve(); // by then each filter of the packet has been granted or refused
    const granted = subs.filter((sub) => !this.refused.has(sub));
    await this.#sessions.add(client.id, granted);
  }

  async removeSubscriptions(client: ClientRef, topics: string[]): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session !== undefined) await this.#sessions.remove(session, topics);
  }

  async subscriptionsByClient(client: ClientRef): Promise<Wanted[]> {
    const subs = this.#sessions.get(client.id)?.subscriptions.values() ?? [];
    return [...subs].map(({ clientId: _, ...sub }) => sub);
  }

  async subscriptionsByTopic(topic: string): Promise<Subscription[]> {
    return this.#sessions.subscribers(topic);
  }

  hasSubscriber(topic: string): boolean {
    return this.#sessions.subscribers(topic).length > 0;
  }

  /** A client connects with clean session 1: what it left behind is gone [MQTT-3.1.2-6]. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session !== undefined) this.#sessions.end(session);
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    const subscribed = [...this.#sessions.all()].filter((s) => s.subscriptions.size > 0);
    return { subsCount: this.#sessions.subscriptions, clientsCount: subscribed.length };
  }

  getClientList(topic: string): Readable {
    const subscribed = [...this.#sessions.all()].filter((s) => s.subscriptions.has(topic));
    return Readable.from(subscribed.map((s) => s.id));
  }

  // --- messages to clients ---

  async outgoingEnqueue(sub: { clientId: string; qos?: number }, packet: Packet): Promise<void> {
    this.#sessions.enqueue([sub], packet);
  }

  async outgoingEnqueueCombi(
    subs: { clientId: string; qos?: number }[],
    packet: Packet,
  ): Promise<void> {
    this.#sessions.enqueue(subs, packet);
  }

  /** Null when a message that has been published is nowhere kept, else when it is in the log. */
  stored({ topic, retain }: { topic: string; retain: boolean }): Promise<void> | null {
    return retain || this.hasSubscriber(topic) ? this.#journal.flushed() : null;
  }

  async outgoingUpdate(client: ClientRef, packet: Packet): Promise<void> {
    const session = this.#sessions.get(client.id);
    if (session !== undefined) await this.#sessions.queues.update(session, packet);
  }

  async outgoingClearMessageId(client: ClientRef, packet: Packet): Promise<Packet | undefined> {
    const session = this.#sessions.get(client.id);
    return session && this.#sessions.queues.clear(session, packet);
  }

  outgoingStream(client: ClientRef): Readable {
    const session = this.#sessions.get(client.id);
    return Readable.from(session === undefined ? [] : this.#sessions.queues.outgoing(session));
  }

  /** Whether a live delivery on this connection is due, and not sent there already. */
  isFirst(clientId: string, connection: number, packet: Packet): boolean {
    const session = this.#sessions.get(clientId);
    return session === undefined || this.#sessions.queues.isFirst(session, connection, packet);
  }

  /** What was queued while aedes emptied the queue, and is not sent yet. */
  unsent(client: ClientRef): Iterable<Packet> {
    const session = this.#sessions.get(client.id);
    return session === undefined ? [] : this.#sessions.queues.outgoing(session);
  }

  // --- QoS 2 from clients: aedes asks only whether it has seen an id ---

  async incomingStorePacket(client: ClientRef, { messageId }: Identified): Promise<void> {
    let ids = this.#incoming.get(client.id);
    if (ids === undefined) this.#incoming.set(client.id, (ids = new Set()));
    ids.add(messageId as number);
  }

  async incomingGetPacket(client: ClientRef, { messageId }: Identified): Promise<Identified> {
    const known = this.#incoming.get(client.id)?.has(messageId as number);
    if (known !== true) throw new Error("no such packet");
    return { messageId };
  }

  async incomingDelPacket(client: ClientRef, { messageId }: Identified): Promise<void> {
    const ids = this.#incoming.get(client.id);
    if (ids?.delete(messageId as number) !== true) throw new Error("no such packet");
    if (ids.size === 0) this.#incoming.delete(client.id);
  }

  async cleanIncoming(client: ClientRef): Promise<void> {
    this.#incoming.delete(client.id);
  }

  // --- retained messages ---

  async storeRetained(packet: Packet): Promise<void> {
    this.#retained.store(packet);
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter]);
  }

  createRetainedStreamCombi(filters: string[]): Readable {
    return Readable.from(this.#retained.matching(filters));
  }

  // --- wills ---

  takeWills(): [clientId: string, will: Will][] {
    return this.#wills.takeAll();
  }

  async putWill(client: ClientRef, will: Will): Promise<void> {
    will.clientId = client.id;
    will.brokerId = this.broker.id;
    await this.#wills.put(client.id, will);
  }

  async getWill(client: ClientRef): Promise<Will | undefined> {
    return this.#wills.get(client.id);
  }

  /** Never rejects: aedes does not look. */
  async delWill(client: ClientRef): Promise<Will | undefined> {
    return this.#wills.remove(client.id);
  }

  /** Wills of brokers that are not among the given: aedes would publish those. */
  streamWill(brokers?: Record<string, unknown>): Readable {
    const mine = this.broker.id;
    const isOthers = ({ brokerId = "" }: Will): boolean =>
      brokerId !== mine && !brokers?.[brokerId];
    return Readable.from(
      [...this.#wills.all()].filter((w) => brokers === undefined || isOthers(w)),
    );
  }
}
