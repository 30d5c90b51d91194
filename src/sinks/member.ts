/** This worker as a member of its consumer group. */
import { type Consumer, offsetCommitV8, offsetFetchV8 } from "@platformatic/kafka";
import type { BaseOptions } from "@platformatic/kafka";
import { atMost } from "../lib/at-most.ts";
import { type Assignment, Membership } from "../uplink/membership.ts";
import type { CommitNote } from "./commit-note.ts";
import { SinkFailure } from "./target.ts";

/** A stop waits no longer for the group. */
const leaveMs = 5000;

export type GroupOffset = { topic: string; partition: number; next: number; note: CommitNote };

export type MemberEvents = {
  /** What is its own from now on. */
  assigned(assignment: Assignment): void;
  /** The group is being divided anew: what it had may soon be another's. */
  revoked(): void;
  failed(error: Error): void;
  say(line: string): void;
};

function withNextStep(reason: string): string {
  const topic = /Unknown topic (\S+)\.$/.exec(reason)?.[1];
  return topic === undefined
    ? reason
    : `no such topic: ${topic}; \`milepost topics list\` names them`;
}

export class Member {
  readonly consumer: Consumer;
  readonly #membership: Membership;

  constructor(options: BaseOptions, groupId: string, topics: string[], events: MemberEvents) {
    this.#membership = new Membership(options, groupId, topics, {
      assigned: (assignment) => events.assigned(assignment),
      revoked: () => events.revoked(),
      failed: (reason) => events.failed(new SinkFailure(withNextStep(reason))),
      say: (line) => events.say(line),
    });
    this.consumer = this.#membership.consumer;
  }

  /** Also when it is a member already: the group is divided anew. */
  join(): Promise<void> {
    return this.#membership.join();
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
    const left = this.commit(offsets).then(() => this.#membership.leave());
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
}
