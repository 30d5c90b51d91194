/** A member of a consumer group, of Kafka's classic protocol: it joins, and joins again. */
import { Consumer, type BaseOptions } from "@platformatic/kafka";
import { Backoff } from "./backoff.ts";
import { isTemporary, reasonOf, wantsRejoin } from "./kafka-errors.ts";

export type MembershipOptions = BaseOptions;

/** A member that was killed is missed after so long. */
export const sessionMs = 10_000;
/** It hears of a rebalance with its next heartbeat. */
const heartbeatMs = 1000;
const rebalanceMs = 30_000;

export type Assignment = { topic: string; partitions: number[] }[];

export type MembershipEvents = {
  /** What is its own from now on. */
  assigned(assignment: Assignment): void;
  /** The group is being divided anew: what it had may soon be another's. */
  revoked(): void;
  /** Trying again does not help. */
  failed(reason: string): void;
  say(line: string): void;
};

export class Membership {
  readonly consumer: Consumer;
  readonly #events: MembershipEvents;
  /** For people. */
  readonly #name: string;
  readonly #backoff = new Backoff();
  #troubled = false;
  #joining = false;
  #left = false;

  constructor(options: BaseOptions, groupId: string, topics: string[], events: MembershipEvents) {
    this.#events = events;
    this.#name = `group ${groupId} at ${options.bootstrapBrokers.join(",")}`;
    const consumer = new Consumer({
      ...options,
      groupId: "group",
      sessionTimeout: sessionMs,
      rebalanceTimeout: rebalanceMs,
      heartbeatInterval: heartbeatMs,
    });
    // the client itself would refuse a name with spaces
    consumer.groupId = groupId;
    for (const topic of topics) consumer.topics.track(topic);
    consumer.on("consumer:group:join", ({ assignments = [] }) => {
      if (this.#troubled) events.say(`${this.#name} goes on`);
      this.#troubled = false;
      this.#backoff.reset();
      events.assigned(assignments.filter(({ topic }) => topics.includes(topic)));
    });
    consumer.on("consumer:group:rebalance", () => events.revoked());
    consumer.on("error", (error: Error) => this.#joinAgain(error));
    this.consumer = consumer;
  }

  /** Also when it is a member already: the group is divided anew. */
  async join(): Promise<void> {
    if (this.#joining || this.#left) return;
    this.#joining = true;
    try {
      await this.consumer.joinGroup();
      this.#joining = false;
    } catch (error) {
      this.#joining = false;
      this.#joinAgain(error as Error);
    }
  }

  /** Tells the group not to wait for this member. */
  async leave(): Promise<void> {
    this.#left = true;
    await this.consumer.close(true);
  }

  #joinAgain(error: Error): void {
    if (this.#left) return;
    if (!isTemporary(error) && !wantsRejoin(error)) {
      return this.#events.failed(`${this.#name}: ${reasonOf(error)}`);
    }
    if (!this.#troubled) this.#events.say(`${this.#name}: ${reasonOf(error)}; trying again`);
    this.#troubled = true;
    this.#events.revoked();
    setTimeout(() => void this.join(), this.#backoff.nextMs());
  }
}
