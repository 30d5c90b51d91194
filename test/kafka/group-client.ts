/** A consumer of the tests: the group APIs over one connection, with what it does not care for. */
import type { RequestOf, ResponseOf } from "../../src/wire/api.ts";
import { heartbeat } from "../../src/wire/apis/heartbeat.ts";
import { joinGroup } from "../../src/wire/apis/join-group.ts";
import { leaveGroup } from "../../src/wire/apis/leave-group.ts";
import { offsetCommit } from "../../src/wire/apis/offset-commit.ts";
import { offsetFetch } from "../../src/wire/apis/offset-fetch.ts";
import { syncGroup } from "../../src/wire/apis/sync-group.ts";
import { E } from "../../src/wire/errors.ts";
import { WireClient } from "./wire-client.ts";

export type Joined = ResponseOf<typeof joinGroup>;
type JoinRequest = RequestOf<typeof joinGroup>;
type Assignment = { memberId: string; assignment: Uint8Array };

export class GroupClient {
  readonly wire: WireClient;
  readonly group: string;
  memberId = "";
  generation = -1;
  instance: string | null = null;
  joined: Joined | null = null;

  private constructor(wire: WireClient, group: string) {
    this.wire = wire;
    this.group = group;
  }

  static async open(port: number, group: string, clientId = "c"): Promise<GroupClient> {
    return new GroupClient(await WireClient.open(port, clientId), group);
  }

  close(): void {
    this.wire.close();
  }

  joinRequest(more: Partial<JoinRequest> = {}): JoinRequest {
    return {
      groupId: this.group,
      // a busy machine may take its time between two requests
      sessionTimeoutMs: 60_000,
      rebalanceTimeoutMs: 60_000,
      memberId: this.memberId,
      groupInstanceId: this.instance,
      protocolType: "consumer",
      protocols: [{ name: "range", metadata: subscription("t") }],
      reason: null,
      ...more,
    };
  }

  /** One JoinGroup. */
  async joinOnce(version = 9, more: Partial<JoinRequest> = {}): Promise<Joined> {
    const answer = await this.wire.request(joinGroup, version, this.joinRequest(more));
    if (answer.memberId !== "") this.memberId = answer.memberId;
    if (answer.errorCode === E.NONE) this.generation = answer.generationId;
    this.joined = answer;
    return answer;
  }

  /** Until it is a member: a member id is asked for first. */
  async join(version = 9, more: Partial<JoinRequest> = {}): Promise<Joined> {
    const answer = await this.joinOnce(version, more);
    return answer.errorCode === E.MEMBER_ID_REQUIRED ? this.joinOnce(version, more) : answer;
  }

  get isLeader(): boolean {
    return this.joined?.leader === this.memberId;
  }

  sync(version = 5, assignments: Assignment[] = []) {
    return this.wire.request(syncGroup, version, {
      groupId: this.group,
      generationId: this.generation,
      memberId: this.memberId,
      groupInstanceId: this.instance,
      protocolType: this.joined?.protocolType ?? "consumer",
      protocolName: this.joined?.protocolName ?? "range",
      assignments,
    });
  }

  /** Joins and syncs; a leader gives every member its own id to read. */
  async enter(version = 9): Promise<Joined> {
    const answer = await this.join(version);
    const assignments = answer.members.map(({ memberId }) => {
      return { memberId, assignment: Buffer.from(memberId) };
    });
    const synced = await this.sync(5, this.isLeader ? assignments : []);
    if (synced.errorCode !== E.NONE) throw new Error(`SyncGroup: ${synced.errorCode}`);
    return answer;
  }

  async heartbeat(version = 4): Promise<number> {
    const answer = await this.wire.request(heartbeat, version, {
      groupId: this.group,
      generationId: this.generation,
      memberId: this.memberId,
      groupInstanceId: this.instance,
    });
    return answer.errorCode;
  }

  async leave(version = 5): Promise<ResponseOf<typeof leaveGroup>> {
    const { memberId, instance: groupInstanceId } = this;
    const members = [{ memberId, groupInstanceId, reason: null }];
    return this.wire.request(leaveGroup, version, { groupId: this.group, memberId, members });
  }

  /** The error of each partition. */
  async commit(
    offsets: { topic: string; partition: number; offset: number; metadata?: string }[],
    more: { version?: number; retentionTimeMs?: number } = {},
  ): Promise<number[]> {
    const { version = 9, retentionTimeMs = -1 } = more;
    const answer = await this.wire.request(offsetCommit, version, {
      groupId: this.group,
      generationIdOrMemberEpoch: this.generation,
      memberId: this.memberId,
      groupInstanceId: this.instance,
      retentionTimeMs,
      topics: offsets.map(({ topic, partition, offset, metadata }) => ({
        name: topic,
        partitions: [
          {
            partitionIndex: partition,
            committedOffset: offset,
            committedLeaderEpoch: 7,
            committedMetadata: metadata ?? null,
          },
        ],
      })),
    });
    return answer.topics.map(({ partitions }) => partitions[0].errorCode);
  }

  /** All committed offsets, "topic/partition" → offset. */
  async offsets(): Promise<Record<string, number>> {
    const answer = await this.wire.request(offsetFetch, 9, {
      groupId: "",
      topics: null,
      groups: [{ groupId: this.group, memberId: null, memberEpoch: -1, topics: null }],
      requireStable: true,
    });
    const [{ topics, errorCode }] = answer.groups;
    if (errorCode !== E.NONE) throw new Error(`OffsetFetch: ${errorCode}`);
    const rows = topics.flatMap(({ name, partitions }) =>
      partitions.map((p) => [`${name}/${p.partitionIndex}`, p.committedOffset] as const),
    );
    return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}

/** A consumer's subscription of version 0. */
export function subscription(...topics: string[]): Uint8Array {
  const parts = [int16(0), int32(topics.length)];
  for (const topic of topics) parts.push(int16(Buffer.byteLength(topic)), Buffer.from(topic));
  parts.push(int32(-1));
  return Buffer.concat(parts);
}

/** A consumer's assignment of version 0: partitions of one topic. */
export function assignment(topic: string, ...partitions: number[]): Uint8Array {
  const name = Buffer.from(topic);
  const parts = [int16(0), int32(1), int16(name.length), name, int32(partitions.length)];
  return Buffer.concat([...parts, ...partitions.map(int32), int32(-1)]);
}

function int16(n: number): Buffer {
  const b = Buffer.alloc(2);
  b.writeInt16BE(n);
  return b;
}

function int32(n: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeInt32BE(n);
  return b;
}
