/** Who leads what in the cluster, looked at now and then and whenever something is amiss. */
import type { Broker } from "@platformatic/kafka";
import type { LogPort } from "../log/client.ts";
import { limits } from "../model/limits.ts";
import { Backoff } from "./backoff.ts";
import type { Lane } from "./lane.ts";
import type { Standings } from "./standings-file.ts";
import type { Target, TargetView } from "./target.ts";
import { createMissing, growLocal, mirroredTopics } from "./topics.ts";

export type TopicWatchEvents = {
  /** A topic there is another one than before: it knows no producer. */
  madeAnew(topic: string): void;
  looked(): void;
  failed(error: unknown): void;
  report(line: string): void;
};

export class TopicWatch {
  readonly #log: LogPort;
  readonly #target: Target;
  readonly #standings: Standings;
  readonly #events: TopicWatchEvents;
  readonly #backoff = new Backoff(limits.clusterRetryMsMin, limits.clusterRetryMsMax);
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #isStopped = false;
  view: TargetView = { brokers: new Map(), topics: new Map() };

  constructor(log: LogPort, target: Target, standings: Standings, events: TopicWatchEvents) {
    this.#log = log;
    this.#target = target;
    this.#standings = standings;
    this.#events = events;
  }

  /** `view`: what was found at the start, null: nothing. */
  start(view: TargetView | null): void {
    if (view === null) return this.soon();
    this.view = view;
    this.#after(limits.clusterMetadataMs);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Which broker has which lanes; those without a leader wait. */
  led(all: readonly Lane[]): { node: number; broker: Broker; lanes: Lane[] }[] {
    const { brokers, topics } = this.view;
    const byNode = Map.groupBy(all, ({ topic, partition }) => {
      return topics.get(topic)?.leaders[partition] ?? -1;
    });
    return [...byNode].flatMap(([node, lanes]) => {
      const broker = brokers.get(node);
      return broker === undefined ? [] : [{ node, broker, lanes }];
    });
  }

  soon(): void {
    this.#after(this.#backoff.nextMs());
  }

  #after(ms: number): void {
    if (this.#isStopped || this.#isLooking) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    this.#isLooking = true;
    let isThere = false;
    try {
      await this.#update();
      isThere = true;
      this.#backoff.reset();
    } catch (error) {
      if (!this.#isStopped) this.#events.failed(error);
    }
    this.#isLooking = false;
    this.#after(isThere ? limits.clusterMetadataMs : this.#backoff.nextMs());
    if (isThere) this.#events.looked();
  }

  async #update(): Promise<void> {
    const topics = mirroredTopics(this.#log.topics());
    await this.#adopt(await this.#target.view(topics.map(({ name }) => name)));
    if (topics.every(({ name }) => this.view.topics.has(name))) return;
    // last: one that cannot be made holds up no other
    await this.#adopt(await createMissing(this.#target, topics, this.#events.report));
  }

  async #adopt(view: TargetView): Promise<void> {
    const { report, madeAnew } = this.#events;
    this.view = view;
    for (const [name, { id }] of view.topics) {
      const known = this.#standings.topics[name];
      if (id === known.there) continue;
      if (known.there !== "") report(`uplink: topic ${name} was made anew in the cluster`);
      known.there = id;
      madeAnew(name);
    }
    await growLocal(this.#log, view, report);
  }
}
