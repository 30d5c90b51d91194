/** Asks brokers what arrived of partitions that are unsure, all of them at once. */
import type { Broker } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { Backoff } from "./backoff.ts";
import type { Lane } from "./lane.ts";
import type { Producer } from "./stamped.ts";
import type { Target } from "./target.ts";

export type AskerEvents = {
  /** Of this producer; null: it is not known there. */
  told(lane: Lane, lastSequence: number | null, producer: Producer): void;
  /** A broker's word is in: what changed by it is to be kept. */
  heard(): Promise<void>;
  /** It leads them no longer, or it did not answer. */
  failed(error: unknown): void;
  done(): void;
};

export type Led = { broker: Broker; lanes: Lane[] };

export class Asker {
  readonly #target: Target;
  readonly #events: AskerEvents;
  readonly #backoff = new Backoff(limits.clusterRetryMsMin, limits.clusterRetryMsMax);
  #isAsking = false;

  constructor(target: Target, events: AskerEvents) {
    this.#target = target;
    this.#events = events;
  }

  ask(led: Led[], producer: Producer, now: number): void {
    if (this.#isAsking) return;
    const unsure = ({ forwarding, retryAt }: Lane): boolean =>
      !forwarding.isSure && forwarding.inFlight === 0 && retryAt <= now;
    const asked = led.map(({ broker, lanes }) => ({ broker, lanes: lanes.filter(unsure) }));
    const some = asked.filter(({ lanes }) => lanes.length > 0);
    if (some.length === 0) return;
    this.#isAsking = true;
    void Promise.all(some.map((one) => this.#askOne(one, producer))).then(() => {
      this.#isAsking = false;
      this.#events.done();
    });
  }

  async #askOne({ broker, lanes }: Led, producer: Producer): Promise<void> {
    const again = (): number => performance.now() + this.#backoff.nextMs();
    try {
      const told = new Map<string, number | null>();
      for (const one of await this.#target.lastSequences(broker, producer, lanes)) {
        told.set(`${one.topic}/${one.partition}`, one.lastSequence);
      }
      for (const lane of lanes) {
        const sequence = told.get(`${lane.topic}/${lane.partition}`);
        if (sequence !== undefined) this.#events.told(lane, sequence, producer);
        else lane.retryAt = again();
      }
      await this.#events.heard();
      if (told.size < lanes.length) throw new Error("a partition has another leader");
      this.#backoff.reset();
    } catch (error) {
      this.#events.failed(error);
      for (const lane of lanes) if (!lane.forwarding.isSure) lane.retryAt = again();
    }
  }
}
