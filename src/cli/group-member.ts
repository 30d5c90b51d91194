/** One member of a consumer group: which partitions it has, and how far it has come in them. */
import { Consumer, type BaseOptions } from "@platformatic/kafka";
import { isTemporary, reasonOf, wantsRejoin } from "../uplink/kafka-errors.ts";
import { CommandFailure } from "./failure.ts";
import { patienceMs, retryMs } from "./kafka-client.ts";

/** A member that was killed is missed after so long. */
const sessionMs = 10_000;
/** It hears of a rebalance with its next heartbeat. */
const heartbeatMs = 1000;
const rebalanceMs = 30_000;
const commitEveryMs = 1000;
/** Ctrl-C waits no longer for the group. */
const leaveMs = 5000;

export type GroupEvents = {
  /** What is its own from now on. */
  assigned(partitions: number[]): void;
  /** The group is being divided anew: what it had may soon be another's. */
  revoked(): void;
  failed(error: Error): void;
};

export class GroupMember {
  readonly #consumer: Consumer;
  readonly #topic: string;
  readonly #events: GroupEvents;
  readonly #timer: NodeJS.Timeout;
  /** By partition: where to go on from. */
  readonly #done = new Map<number, number>();
  readonly #uncommitted = new Set<number>();
  #troubledSinceMs: number | null = null;
  #left = false;

  constructor(options: BaseOptions, groupId: string, topic: string, events: GroupEvents) {
    this.#topic = topic;
    this.#events = events;
    const times = { sessionTimeout: sessionMs, rebalanceTimeout: rebalanceMs };
    const consumer = new Consumer({
      ...options,
      ...times,
      groupId: "group",
      heartbeatInterval: heartbeatMs,
    });
    // the client itself would refuse a name with spaces
    consumer.groupId = groupId;
    consumer.topics.track(topic);
    consumer.on("consumer:group:join", ({ assignments = [] }) => {
      this.#troubledSinceMs = null;
      this.#done.clear();
      this.#uncommitted.clear();
      const own = assignments.filter((assignment) => assignment.topic === topic);
      events.assigned(own.flatMap(({ partitions }) => partitions));
    });
    consumer.on("consumer:group:rebalance", () => {
      // leaves before the request to join again, which the client sends next
      void this.commit();
      events.revoked();
    });
    consumer.on("error", (error: Error) => this.#joinAgain(error));
    this.#consumer = consumer;
    this.#timer = setInterval(() => void this.commit(), commitEveryMs);
  }

  async join(): Promise<void> {
    try {
      await this.#consumer.joinGroup();
    } catch (error) {
      this.#joinAgain(error as Error);
    }
  }

  /** Where the group stands; partitions without a commit are left out. */
  async committed(partitions: number[]): Promise<Map<number, number>> {
    const topic = this.#topic;
    const offsets = await this.#consumer.listCommittedOffsets({ topics: [{ topic, partitions }] });
    const known = partitions.map((p): [number, number] => [
      p,
      Number(offsets.get(topic)?.[p] ?? -1),
    ]);
    return new Map(known.filter(([, offset]) => offset >= 0));
  }

  done(partition: number, next: number): void {
    this.#done.set(partition, next);
    this.#uncommitted.add(partition);
  }

  /** What fails for now is in the next one. */
  async commit(): Promise<void> {
    if (this.#uncommitted.size === 0) return;
    const partitions = [...this.#uncommitted];
    this.#uncommitted.clear();
    const offsets = partitions.map((partition) => ({
      topic: this.#topic,
      partition,
      offset: BigInt(this.#done.get(partition) as number),
      leaderEpoch: -1,
    }));
    try {
      await this.#consumer.commit({ offsets });
    } catch (error) {
      // when the group went on without this member there is nothing left to say
      if (!isTemporary(error)) return;
      for (const partition of partitions) {
        if (this.#done.has(partition)) this.#uncommitted.add(partition);
      }
    }
  }

  /** Commits, and tells the group not to wait for this member. */
  async leave(): Promise<void> {
    this.#left = true;
    clearInterval(this.#timer);
    const late = new Promise<void>((resolve) => setTimeout(resolve, leaveMs).unref());
    const left = this.commit().then(() => this.#consumer.close(true));
    await Promise.race([late, left.catch(() => {})]);
  }

  #joinAgain(error: Error): void {
    if (this.#left) return;
    const now = performance.now();
    this.#troubledSinceMs ??= now;
    if (!isTemporary(error) && !wantsRejoin(error)) return this.#events.failed(error);
    if (now - this.#troubledSinceMs > patienceMs) {
      const reason = `the group is out of reach: ${reasonOf(error)}`;
      return this.#events.failed(new CommandFailure(reason));
    }
    setTimeout(() => {
      if (!this.#left) void this.join();
    }, retryMs);
  }
}
