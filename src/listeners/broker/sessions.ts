/** Persistent sessions: who has one, its subscriptions, and its queue. */
import { limits } from "../../model/limits.ts";
import { FilterIndex } from "./filter-index.ts";
import type { Journal } from "./journal.ts";
import type { BrokerMetrics } from "./metrics.ts";
import { Queues } from "./queues.ts";
import { Session, type Packet, type Subscription } from "./session.ts";
import { encodeStored, type Stored } from "./stored.ts";

export type Wanted = Omit<Subscription, "clientId">;

export class Sessions {
  readonly #journal: Journal;
  readonly #metrics: BrokerMetrics;
  readonly #isConnected: (clientId: string) => boolean;
  /** In the order of their last connection. */
  readonly #byId = new Map<string, Session>();
  /** Those of QoS 1 and 2: what is queued for. */
  readonly #subscribers = new FilterIndex<Subscription>();
  readonly queues: Queues;
  #nextConnection = 1;

  constructor(
    journal: Journal,
    metrics: BrokerMetrics,
    now: () => number,
    isConnected: (clientId: string) => boolean,
  ) {
    this.#journal = journal;
    this.#metrics = metrics;
    this.#isConnected = isConnected;
    this.queues = new Queues(journal, metrics, now);
  }

  get size(): number {
    return this.#byId.size;
  }

  get(clientId: string): Session | undefined {
    return this.#byId.get(clientId);
  }

  all(): IterableIterator<Session> {
    return this.#byId.values();
  }

  // --- from the journal: the records of a session lie in several partitions, in any order ---

  restoreSession(id: string, stored: Stored | null): void {
    const session = this.#getOrMake(id);
    for (const s of session.subscriptions.values()) this.#subscribers.remove(s.topic, s);
    session.subscriptions.clear();
    session.ended = stored === null;
    const subscriptions = stored?.head.subscriptions;
    if (Array.isArray(subscriptions)) for (const s of subscriptions) this.#subscribe(session, s);
  }

  restoreQueued(name: string, stored: Stored | null): void {
    const slash = name.lastIndexOf("/");
    const id = name.slice(0, slash);
    const seq = Number(name.slice(slash + 1));
    if (!Number.isSafeInteger(seq)) return;
    let session = this.#byId.get(id);
    if (session === undefined) {
      session = this.#getOrMake(id);
      session.ended = true; // unless its own record says otherwise
    }
    this.queues.restore(session, seq, stored);
  }

  restored(): void {
    for (const [id, session] of this.#byId) {
      session.queue.sort((a, b) => a.seq - b.seq);
      if (!session.ended) continue;
      this.queues.dropAll(session);
      this.#byId.delete(id);
    }
    this.expire();
  }

  /** Drops messages that have waited too long; to be called now and then. */
  expire(): void {
    for (const session of this.#byId.values()) this.queues.expire(session);
  }

  // --- a session's life ---

  /** A client with clean session 0 has been let in. `present`: it finds a session. */
  begin(clientId: string): { present: boolean; connection: number } {
    const known = this.#byId.get(clientId);
    if (known === undefined) this.#makeRoom();
    const session = known ?? new Session(clientId);
    session.connection = this.#nextConnection++;
    this.#byId.delete(clientId);
    this.#byId.set(clientId, session);
    if (known === undefined) this.#write(session);
    return { present: known !== undefined, connection: session.connection };
  }

  end(session: Session): void {
    this.queues.dropAll(session);
    for (const s of session.subscriptions.values()) this.#subscribers.remove(s.topic, s);
    this.#byId.delete(session.id);
    this.#journal.remove(`s/${session.id}`);
  }

  #makeRoom(): void {
    if (this.#byId.size < limits.sessionsMax) return;
    for (const session of this.#byId.values()) {
      if (this.#isConnected(session.id)) continue;
      this.end(session);
      this.#metrics.sessionsEvicted.value++;
      return;
    }
  }

  #getOrMake(id: string): Session {
    let session = this.#byId.get(id);
    if (session === undefined) this.#byId.set(id, (session = new Session(id)));
    return session;
  }

  #write(session: Session): void {
    const subscriptions = [...session.subscriptions.values()].map(({ clientId: _, ...s }) => s);
    this.#journal.set(`s/${session.id}`, encodeStored({ subscriptions }));
  }

  // --- subscriptions ---

  async add(clientId: string, wanted: Wanted[]): Promise<void> {
    const session = this.#getOrMake(clientId);
    for (const sub of wanted) this.#subscribe(session, sub);
    this.#write(session);
    await this.#journal.flushed();
  }

  async remove(session: Session, topics: string[]): Promise<void> {
    for (const topic of topics) {
      const sub = session.subscriptions.get(topic);
      if (sub === undefined) continue;
      this.#subscribers.remove(topic, sub);
      session.subscriptions.delete(topic);
    }
    this.#write(session);
    await this.#journal.flushed();
  }

  #subscribe(session: Session, { topic, qos, ...options }: Wanted): void {
    const before = session.subscriptions.get(topic);
    if (before !== undefined) this.#subscribers.remove(topic, before);
    const sub: Subscription = { clientId: session.id, topic, qos };
    for (const [name, value] of Object.entries(options)) {
      if (value !== undefined) Object.assign(sub, { [name]: value });
    }
    session.subscriptions.set(topic, sub);
    if (qos > 0) this.#subscribers.add(topic, sub);
  }

  /** Subscriptions that a message to this topic is queued for. */
  subscribers(topic: string): Subscription[] {
    return this.#subscribers.match(topic);
  }

  get subscriptions(): number {
    return this.#subscribers.size;
  }

  // --- queued messages ---

  /** Written behind: who acknowledges the message waits for the journal. */
  enqueue(subs: { clientId: string; qos?: number }[], packet: Packet): void {
    if (subs.length === 0) return;
    // a client with several matching filters gets one message, at the best QoS [MQTT-3.3.5-1]
    const best = new Map<string, number>();
    for (const { clientId, qos } of subs) {
      best.set(clientId, Math.max(best.get(clientId) ?? 0, qos ?? packet.qos));
    }
    // the packet's bytes are a view of everything its sender sent in that moment
    const payload = Buffer.from(packet.payload);
    for (const [clientId, granted] of best) {
      const session = this.#getOrMake(clientId);
      const qos = Math.min(packet.qos, granted);
      this.queues.enqueue(session, { ...packet, qos, payload }, this.#isConnected(clientId));
    }
  }
}
