/** The retained message of each topic, in memory and in the journal. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { limits } from "../../model/limits.ts";
import type { Journal } from "./journal.ts";
import type { BrokerMetrics } from "./metrics.ts";
import type { Packet } from "./session.ts";
import { encodeStored, packetOf, type Stored } from "./stored.ts";
import { isWild, matches } from "./topics.ts";

/** Comparisons in one go: a search through ten thousand topics lets others come between. */
const COMPARISONS = 2000;

export class Retained {
  readonly #journal: Journal;
  readonly #metrics: BrokerMetrics;
  readonly #byTopic = new Map<string, Packet>();
  #bytes = 0;

  constructor(journal: Journal, metrics: BrokerMetrics) {
    this.#journal = journal;
    this.#metrics = metrics;
  }

  get size(): number {
    return this.#byTopic.size;
  }

  restore(topic: string, stored: Stored | null): void {
    if (stored === null) this.#forget(topic);
    else this.#keep({ ...packetOf(stored), topic, retain: true });
  }

  /** Written behind: who acknowledges the message waits for the journal. */
  store(packet: Packet): void {
    const { topic, qos, payload } = packet;
    if (payload.length === 0) {
      if (this.#forget(topic)) this.#journal.remove(`r/${topic}`); // [MQTT-3.3.1-10]
    } else if (this.#hasRoom(topic, payload.length)) {
      const kept = { ...packet, payload: Buffer.from(payload) };
      this.#keep(kept);
      this.#journal.set(`r/${topic}`, encodeStored({ qos }, kept.payload));
    } else {
      this.#metrics.refusedRetain.value++;
    }
  }

  #hasRoom(topic: string, bytes: number): boolean {
    const before = this.#byTopic.get(topic);
    if (before === undefined && this.#byTopic.size >= limits.retainedMax) return false;
    return this.#bytes - (before?.payload.length ?? 0) + bytes <= limits.retainedBytesMax;
  }

  #keep(packet: Packet): void {
    this.#forget(packet.topic);
    this.#byTopic.set(packet.topic, packet);
    this.#bytes += packet.payload.length;
  }

  #forget(topic: string): boolean {
    const packet = this.#byTopic.get(topic);
    if (packet === undefined) return false;
    this.#bytes -= packet.payload.length;
    return this.#byTopic.delete(topic);
  }

  /** Each message once, however many of the filters match. */
  async *matching(filters: string[]): AsyncGenerator<Packet> {
    for (const filter of filters) {
      const packet = this.#byTopic.get(filter);
      if (packet !== undefined) yield packet;
    }
    const wild = filters.filter(isWild);
    if (wild.length === 0) return;
    let compared = 0;
    for (const [topic, packet] of this.#byTopic) {
      compared += wild.length;
      if (compared > COMPARISONS) {
        compared = 0;
        await nextTurn();
      }
      if (!filters.includes(topic) && wild.some((w) => matches(w, topic))) yield packet;
    }
  }
}
