/** This worker as a member of its consumer group. */
import { Consumer, offsetCommitV8, offsetFetchV8, type BaseOptions } from "@platformatic/kafka";
import { atMost } from "../lib/at-most.ts";
import { limits } from "../model/limits.ts";
import { Backoff } from "../uplink/backoff.ts";
import { isTemporary, reasonOf, wantsRejoin } from "../uplink/kafka-errors.ts";
import type { CommitNote } from "./commit-note.ts";
import { SinkFailure } from "./target.ts";

/** A member that was killed is missed after so long. */
const sessionMs = 10_000;
/** It hears of a rebalance with its next heartbeat. */
const heartbeatMs = 1000;
const rebalanceMs = 30_000;
/** A stop waits no longer for the group. */
const leaveMs = 5000;

export type Assignment = { topic: string; partitions: number[] }[];
export type GroupOffset = { topic: string; partition: number; next: number; note: CommitNote };

export type MemberEvents = {
  /** What is its own from now on. */
  assigned(assignment: Assignment): void;
  /** The group is being divided anew: what it had may soon be another's. */
  revoked(): void;
  failed(error: Error): void;
  say(line: string): void;
};

export class Member {
  readonly consumer: Consumer;
  readonly #events: MemberEvents;
  readonly #backoff = new Backoff();
  #troubled = false;
  #joining = false;
  #left = false;

  constructor(options: BaseOptions, groupId: string, topics: string[], events: MemberEvents) {
    this.#events = events;
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
      if (this.#troubled) events.say("the group goes on");
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

  /** For those who look on, and for lag: the table says where to go on. What fails is not told. */
  async commit(offsets: GroupOffset[]): Promise<void> {
    const { groupId, generationId, memberId } = this.consumer;
    if (memberId === null || offsets.length === 0) return;
    const topics = [...Map.groupBy(offsets, ({ topic }) => topic)].map(([name, own]) => ({
      name,
      partitions: own.map(({ partition, next, note }) => ({
        partitionIndex: partition,
        committedOffset: BigInt(next),
        committedLeaderEpoch: -1,
        committedMetadata: JSON.stringify(note),
      })),
    }));
    try {
      const connection = await this.#coordinator();
      await offsetCommitV8.api.async(connection, groupId, generationId, memberId, null, topics);
    } catch {
      // the next one says it all
    }
  }

  /** What the group knows of these partitions; nothing when it cannot be asked. */
  async notes(assignment: Assignment): Promise<Map<string, string>> {
    const topics = assignment.map(({ topic, partitions }) => {
      return { name: topic, partitionIndexes: partitions };
    });
    const notes = new Map<string, string>();
    try {
      const connection = await this.#coordinator();
      const { groupId } = this.consumer;
      const asked = [{ groupId, memberEpoch: -1, topics }];
      const answer = await offsetFetchV8.api.async(connection, asked, false);
      for (const { name, partitions } of answer.groups.flatMap((group) => group.topics)) {
        for (const { partitionIndex, metadata } of partitions) {
          if (metadata) notes.set(`${name}/${partitionIndex}`, metadata);
        }
      }
    } catch {
      // it only counts on from there
    }
    return notes;
  }

  /** Commits, and tells the group not to wait for this member. */
  async leave(offsets: GroupOffset[]): Promise<void> {
    this.#left = true;
    const left = this.commit(offsets).then(() => this.consumer.close(true));
    await atMost(
      leaveMs,
      left.catch(() => {}),
    );
  }

  async #coordinator() {
    const id = await this.consumer.findGroupCoordinator();
    const connection = (await this.consumer.connectToBrokers([id])).get(id);
    if (connection === undefined) throw new Error("no coordinator");
    return connection;
  }

  #joinAgain(error: Error): void {
    if (this.#left) return;
    if (!isTemporary(error) && !wantsRejoin(error)) {
      return this.#events.failed(new SinkFailure(`the group: ${reasonOf(error)}`));
    }
    if (!this.#troubled) this.#events.say(`the group: ${reasonOf(error)}; trying again`);
    this.#troubled = true;
    this.#events.revoked();
    setTimeout(() => void this.join(), Math.min(this.#backoff.nextMs(), limits.sinkRetryMsMax));
  }
}
