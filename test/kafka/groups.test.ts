import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { deleteGroups } from "../../src/wire/apis/delete-groups.ts";
import { deleteTopics } from "../../src/wire/apis/delete-topics.ts";
import { describeGroups } from "../../src/wire/apis/describe-groups.ts";
import { findCoordinator } from "../../src/wire/apis/find-coordinator.ts";
import { heartbeat } from "../../src/wire/apis/heartbeat.ts";
import { leaveGroup } from "../../src/wire/apis/leave-group.ts";
import { listGroups } from "../../src/wire/apis/list-groups.ts";
import { offsetDelete } from "../../src/wire/apis/offset-delete.ts";
import { offsetFetch } from "../../src/wire/apis/offset-fetch.ts";
import { syncGroup } from "../../src/wire/apis/sync-group.ts";
import { limits } from "../../src/model/limits.ts";
import { E } from "../../src/wire/errors.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { assignment, GroupClient, subscription } from "./group-client.ts";
import { WireClient } from "./wire-client.ts";

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 };
let gateway: Gateway;
let wire: WireClient;
let groups = 0;
const open: { close(): void }[] = [];

beforeAll(async () => {
  gateway = await startGateway();
  wire = await WireClient.open(gateway.ports.kafka);
});
afterAll(async () => {
  wire.close();
  for (const client of open) client.close();
  await gateway.stop();
});

const newGroup = (): string => `group-${++groups}`;
const versions = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
const positions = (partition: number, offset: number, metadata?: string) => {
  return { topic: "positions", partition, offset, metadata };
};

async function member(group: string, clientId?: string): Promise<GroupClient> {
  const client = await GroupClient.open(gateway.ports.kafka, group, clientId);
  open.push(client);
  return client;
}

async function stateOf(group: string): Promise<string> {
  const asked = { groups: [group], includeAuthorizedOperations: false };
  return (await wire.request(describeGroups, 5, asked)).groups[0].groupState;
}

async function makeTopic(name: string): Promise<void> {
  const topic = { name, numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] };
  const request = { topics: [topic], timeoutMs: 5000, validateOnly: false };
  expect((await wire.request(createTopics, 5, request)).topics[0].errorCode).toBe(E.NONE);
}

async function deleteTopic(name: string): Promise<void> {
  const request = { topics: [], topicNames: [name], timeoutMs: 5000 };
  expect((await wire.request(deleteTopics, 4, request)).responses[0].errorCode).toBe(E.NONE);
}

describe("every version of", () => {
  test.each(versions(0, 5))("FindCoordinator %i", async (version) => {
    const ask = (keyType: number) =>
      wire.request(findCoordinator, version, { key: "g", keyType, coordinatorKeys: ["g", "h"] });
    const here = { nodeId: 1, host: "127.0.0.1", port: gateway.ports.kafka, errorCode: E.NONE };
    const answer = await ask(0);
    if (version < 4) expect(answer).toMatchObject(here);
    else
      expect(answer.coordinators).toMatchObject([
        { ...here, key: "g" },
        { ...here, key: "h" },
      ]);
    if (version === 0) return;
    const none = await ask(1);
    const error = {
      errorCode: E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
      errorMessage: "transactions are not served",
    };
    expect(version < 4 ? none : none.coordinators[0]).toMatchObject(error);
    const share = await ask(2);
    expect((version < 4 ? share : share.coordinators[0]).errorCode).toBe(E.INVALID_REQUEST);
  });

  test.each(versions(0, 9))("JoinGroup %i", async (version) => {
    const a = await member(newGroup(), "app");
    const first = await a.joinOnce(version);
    if (version >= 4) {
      expect(first.errorCode).toBe(E.MEMBER_ID_REQUIRED);
      expect(first.memberId).toMatch(/^app-[0-9a-f-]{36}$/);
      await a.joinOnce(version);
    }
    expect(a.joined).toMatchObject({
      errorCode: E.NONE,
      generationId: 1,
      protocolType: version >= 7 ? "consumer" : null,
      protocolName: "range",
      leader: a.memberId,
      skipAssignment: false,
      members: [{ memberId: a.memberId, groupInstanceId: null }],
    });
    expect(Buffer.from(a.joined?.members[0].metadata ?? [])).toEqual(subscription("t"));
  });

  test.each(versions(0, 5))("SyncGroup %i", async (version) => {
    const a = await member(newGroup());
    await a.join();
    const mine = [{ memberId: a.memberId, assignment: Buffer.from([1, 2, 3]) }];
    const answer = await a.sync(version, mine);
    expect(answer).toMatchObject({
      errorCode: E.NONE,
      protocolType: version >= 5 ? "consumer" : null,
      protocolName: version >= 5 ? "range" : null,
    });
    expect([...answer.assignment]).toEqual([1, 2, 3]);
  });

  test.each(versions(0, 4))("Heartbeat %i", async (version) => {
    const a = await member(newGroup());
    await a.enter();
    expect(await a.heartbeat(version)).toBe(E.NONE);
    a.generation = 7;
    expect(await a.heartbeat(version)).toBe(E.ILLEGAL_GENERATION);
  });

  test.each(versions(0, 5))("LeaveGroup %i", async (version) => {
    const group = newGroup();
    const a = await member(group);
    await a.enter();
    const left = await a.leave(version);
    const again = await a.leave(version);
    if (version < 3) {
      expect([left.errorCode, again.errorCode]).toEqual([E.NONE, E.UNKNOWN_MEMBER_ID]);
    } else {
      expect([left.errorCode, again.errorCode]).toEqual([E.NONE, E.NONE]);
      const { memberId } = a;
      expect(left.members).toEqual([{ memberId, groupInstanceId: null, errorCode: E.NONE }]);
      expect(again.members[0].errorCode).toBe(E.UNKNOWN_MEMBER_ID);
    }
    expect(await stateOf(group)).toBe("Empty");
  });

  test.each(versions(2, 9))("OffsetCommit %i", async (version) => {
    const a = await member(newGroup());
    await a.enter();
    const offsets = [
      positions(0, 5, "here"),
      positions(99, 5),
      { ...positions(0, 1), topic: "no" },
    ];
    const unknown = E.UNKNOWN_TOPIC_OR_PARTITION;
    expect(await a.commit(offsets, { version })).toEqual([E.NONE, unknown, unknown]);
    a.generation = 9;
    expect(await a.commit([positions(0, 6)], { version })).toEqual([E.ILLEGAL_GENERATION]);
    expect(await a.offsets()).toEqual({ "positions/0": 5 });
    a.memberId = "who";
    const nowhere = await member(newGroup());
    nowhere.generation = 1;
    const missing = version >= 9 ? E.GROUP_ID_NOT_FOUND : E.ILLEGAL_GENERATION;
    expect(await nowhere.commit([positions(0, 6)], { version })).toEqual([missing]);
  });

  test.each(versions(1, 9))("OffsetFetch %i", async (version) => {
    const group = newGroup();
    const a = await member(group);
    await a.commit([positions(1, 11, "m"), positions(2, 12)]);
    const topics = [{ name: "positions", partitionIndexes: [2, 1, 3] }];
    const ask = (asked: typeof topics | null) =>
      wire.request(offsetFetch, version, {
        groupId: group,
        topics: asked,
        groups: [
          { groupId: group, memberId: null, memberEpoch: -1, topics: asked },
          { groupId: "never seen", memberId: null, memberEpoch: -1, topics: asked },
        ],
        requireStable: true,
      });
    const epoch = (n: number) => (version >= 5 ? n : -1);
    const row = (partitionIndex: number, committedOffset: number, metadata: string) => {
      const committedLeaderEpoch = epoch(committedOffset < 0 ? -1 : 7);
      return { partitionIndex, committedOffset, committedLeaderEpoch, metadata, errorCode: E.NONE };
    };
    const answer = await ask(topics);
    const found = version < 8 ? answer : answer.groups[0];
    expect(found.errorCode).toBe(E.NONE);
    expect(found.topics).toEqual([
      { name: "positions", partitions: [row(2, 12, ""), row(1, 11, "m"), row(3, -1, "")] },
    ]);
    if (version >= 8) {
      const nothing = [row(2, -1, ""), row(1, -1, ""), row(3, -1, "")];
      const { topics: missing, errorCode } = answer.groups[1];
      expect(missing).toEqual([{ name: "positions", partitions: nothing }]);
      expect(errorCode).toBe(E.NONE);
    }
    if (version < 2) return;
    const all = await ask(null);
    const [topic] = version < 8 ? all.topics : all.groups[0].topics;
    expect(topic.partitions).toEqual([row(1, 11, "m"), row(2, 12, "")]);
    if (version >= 8) expect(all.groups[1].topics).toEqual([]);
  });

  test.each(versions(0, 5))("ListGroups %i", async (version) => {
    const [empty, stable] = [await member(newGroup()), await member(newGroup())];
    await empty.commit([positions(0, 1)]);
    await stable.enter();
    const list = async (statesFilter: string[], typesFilter: string[] = []) =>
      (await wire.request(listGroups, version, { statesFilter, typesFilter })).groups;
    const all = await list([]);
    const of = (group: string, protocolType: string, state: string) => ({
      groupId: group,
      protocolType,
      groupState: version >= 4 ? state : "",
      groupType: version >= 5 ? "classic" : "",
    });
    expect(all).toContainEqual(of(empty.group, "", "Empty"));
    expect(all).toContainEqual(of(stable.group, "consumer", "Stable"));
    if (version < 4) return;
    const names = (rows: { groupId: string }[]) => rows.map(({ groupId }) => groupId);
    expect(names(await list(["stable"]))).toContain(stable.group);
    expect(names(await list(["Stable"]))).not.toContain(empty.group);
    if (version >= 5) expect(await list([], ["consumer"])).toEqual([]);
    if (version >= 5) expect(names(await list([], ["Classic"]))).toContain(empty.group);
  });

  test.each(versions(0, 6))("DescribeGroups %i", async (version) => {
    const group = newGroup();
    const a = await member(group, "app");
    await a.enter();
    const asked = { groups: [group, "never seen"], includeAuthorizedOperations: false };
    const [found, missing] = (await wire.request(describeGroups, version, asked)).groups;
    expect(found).toMatchObject({
      errorCode: E.NONE,
      groupId: group,
      groupState: "Stable",
      protocolType: "consumer",
      protocolData: "range",
    });
    const [m] = found.members;
    expect(m).toMatchObject({
      memberId: a.memberId,
      groupInstanceId: null,
      clientId: "app",
      clientHost: "127.0.0.1",
    });
    expect(Buffer.from(m.memberMetadata)).toEqual(subscription("t"));
    expect(Buffer.from(m.memberAssignment).toString()).toBe(a.memberId);
    expect(missing).toMatchObject({
      groupState: "Dead",
      errorCode: version >= 6 ? E.GROUP_ID_NOT_FOUND : E.NONE,
      errorMessage: version >= 6 ? "Group never seen not found." : null,
    });
  });

  test.each(versions(0, 2))("DeleteGroups %i", async (version) => {
    const [gone, used] = [await member(newGroup()), await member(newGroup())];
    await gone.commit([positions(0, 1)]);
    await used.enter();
    const groupsNames = [gone.group, used.group, "never seen"];
    const { results } = await wire.request(deleteGroups, version, { groupsNames });
    expect(results.map((r) => [r.groupId, r.errorCode])).toEqual([
      [gone.group, E.NONE],
      [used.group, E.NON_EMPTY_GROUP],
      ["never seen", E.GROUP_ID_NOT_FOUND],
    ]);
    expect(await stateOf(gone.group)).toBe("Dead");
    expect(await gone.offsets()).toEqual({});
  });

  test("OffsetDelete 0", async () => {
    await makeTopic("read");
    await makeTopic("left");
    const a = await member(newGroup());
    await a.join(9, { protocols: [{ name: "range", metadata: subscription("read") }] });
    await a.sync(5, [{ memberId: a.memberId, assignment: assignment("read", 0, 1) }]);
    const place = (topic: string, partition: number) => ({ topic, partition, offset: 3 });
    await a.commit([place("read", 0), place("left", 0), place("left", 1)]);
    const ask = (groupId: string) =>
      wire.request(offsetDelete, 0, {
        groupId,
        topics: ["read", "left", "no"].map((name) => {
          return { name, partitions: [{ partitionIndex: 0 }] };
        }),
      });
    const answer = await ask(a.group);
    expect(answer.errorCode).toBe(E.NONE);
    expect(answer.topics.map((t) => t.partitions[0].errorCode)).toEqual([
      E.GROUP_SUBSCRIBED_TO_TOPIC,
      E.NONE,
      E.UNKNOWN_TOPIC_OR_PARTITION,
    ]);
    expect(await a.offsets()).toEqual({ "left/1": 3, "read/0": 3 });
    await a.leave();
    expect((await ask(a.group)).topics[0].partitions[0].errorCode).toBe(E.NONE);
    expect(await a.offsets()).toEqual({ "left/1": 3 });
    expect((await ask("never seen")).errorCode).toBe(E.GROUP_ID_NOT_FOUND);
  });
});

describe("members", () => {
  test("SyncGroup of a follower waits for the leader's assignment", async () => {
    const group = newGroup();
    const [a, b] = [await member(group), await member(group)];
    await Promise.all([a.join(), b.join()]);
    const [leader, follower] = a.isLeader ? [a, b] : [b, a];
    expect(a.generation).toBe(b.generation);
    const waits = follower.sync();
    expect(await leader.heartbeat()).toBe(E.NONE);
    expect(await stateOf(group)).toBe("CompletingRebalance");
    await leader.sync(5, [{ memberId: follower.memberId, assignment: Buffer.from("all") }]);
    expect(Buffer.from((await waits).assignment).toString()).toBe("all");
  });

  test("one that joins, leaves or vanishes begins a rebalance, which fences commits", async () => {
    const group = newGroup();
    const [a, b] = [await member(group), await member(group)];
    await a.enter();
    const joins = b.join();
    await expect.poll(() => a.heartbeat(), patiently).toBe(E.REBALANCE_IN_PROGRESS);
    // until it has come back its commits are good
    expect(await a.commit([positions(0, 1)])).toEqual([E.NONE]);
    await a.join();
    await joins;
    expect([a.generation, b.generation]).toEqual([2, 2]);
    expect(await a.commit([positions(0, 2)])).toEqual([E.REBALANCE_IN_PROGRESS]);
    expect(await a.heartbeat()).toBe(E.NONE);
    const synced = b.sync();
    await a.sync();
    expect((await synced).errorCode).toBe(E.NONE);
    expect(await a.commit([positions(0, 3)])).toEqual([E.NONE]);
    a.generation = 1;
    expect(await a.commit([positions(0, 4)])).toEqual([E.ILLEGAL_GENERATION]);
    expect(await b.commit([positions(1, 5)])).toEqual([E.NONE]);
    await b.leave();
    expect(await b.commit([positions(1, 6)])).toEqual([E.UNKNOWN_MEMBER_ID]);
    expect(await a.offsets()).toEqual({ "positions/0": 3, "positions/1": 5 });
  });

  test("a member that is not heard of is evicted", async () => {
    const group = newGroup();
    const a = await member(group);
    await a.join(9, { sessionTimeoutMs: limits.groupSessionMsMin });
    await a.sync();
    a.close();
    await expect.poll(() => stateOf(group), patiently).toBe("Empty");
    expect(await gateway.metric("milepost_group_evictions_total")).toBeGreaterThan(0);
  });

  test("a client that goes away while it waits leaves nothing but its membership", async () => {
    const group = newGroup();
    const [a, b] = [await member(group), await member(group)];
    await a.enter();
    void b.joinOnce(0).catch(() => {});
    await expect.poll(() => a.heartbeat(), patiently).toBe(E.REBALANCE_IN_PROGRESS);
    b.close();
    const joined = await a.join();
    expect(joined.members).toHaveLength(2);
    expect(await a.heartbeat()).toBe(E.NONE);
  });

  test("session timeouts outside the limits, and what is no group id", async () => {
    const a = await member(newGroup());
    const { groupSessionMsMin: min, groupSessionMsMax: max } = limits;
    const join = async (more: object) => (await a.joinOnce(3, more)).errorCode;
    expect(await join({ sessionTimeoutMs: min - 1 })).toBe(E.INVALID_SESSION_TIMEOUT);
    expect(await join({ sessionTimeoutMs: max + 1 })).toBe(E.INVALID_SESSION_TIMEOUT);
    expect(await join({ groupId: "" })).toBe(E.INVALID_GROUP_ID);
    const long = "x".repeat(limits.groupIdBytesMax + 1);
    expect(await join({ groupId: long })).toBe(E.INVALID_GROUP_ID);
    expect(await join({ memberId: "who" })).toBe(E.UNKNOWN_MEMBER_ID);
    expect(await join({ memberId: "", protocols: [] })).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    const wide = { memberId: "", protocolType: "x".repeat(300) };
    expect(await join(wide)).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect(await stateOf(a.group)).toBe("Dead");
  });

  test("SyncGroup from version 5 on names type and protocol", async () => {
    const a = await member(newGroup());
    await a.join();
    const ask = async (protocolType: string | null, protocolName: string | null) => {
      const { group: groupId, memberId, generation: generationId } = a;
      const request = { groupId, memberId, generationId, groupInstanceId: null, assignments: [] };
      return wire.request(syncGroup, 5, { ...request, protocolType, protocolName });
    };
    expect((await ask(null, "range")).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect((await ask("consumer", null)).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect((await ask("connect", "range")).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect((await ask("consumer", "sticky")).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect((await ask("consumer", "range")).errorCode).toBe(E.NONE);
  });

  test("any protocol type, with whatever bytes", async () => {
    const group = newGroup();
    const a = await member(group);
    const metadata = Buffer.from([0xff, 0, 0xfe]);
    const connect = { protocolType: "connect", protocols: [{ name: "sessioned", metadata }] };
    const { members } = await a.join(9, connect);
    expect(Buffer.from(members[0].metadata)).toEqual(metadata);
    await a.sync(5, [{ memberId: a.memberId, assignment: metadata }]);
    const asked = { groups: [group], includeAuthorizedOperations: false };
    const [described] = (await wire.request(describeGroups, 5, asked)).groups;
    expect(described).toMatchObject({ protocolType: "connect", protocolData: "sessioned" });
    const b = await member(group);
    expect((await b.join()).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    const forget = { groupId: group, topics: [] };
    expect((await wire.request(offsetDelete, 0, forget)).errorCode).toBe(E.NON_EMPTY_GROUP);
  });
});

describe("static members", () => {
  async function two(group: string): Promise<GroupClient[]> {
    const both = [await member(group), await member(group)];
    both.forEach((c, i) => (c.instance = `i${i}`));
    await Promise.all(both.map((c) => c.join()));
    both.sort((c) => (c.isLeader ? -1 : 1));
    const all = both.map(({ memberId }) => ({ memberId, assignment: Buffer.from(memberId) }));
    await Promise.all(both.map((c) => c.sync(5, c.isLeader ? all : [])));
    return both;
  }

  test("one that comes back goes on without a rebalance, and fences its old id", async () => {
    const group = newGroup();
    const [a, b] = await two(group);
    const back = await member(group);
    back.instance = b.instance;
    expect(await back.join()).toMatchObject({ errorCode: E.NONE, generationId: a.generation });
    expect(back.memberId).not.toBe(b.memberId);
    expect(Buffer.from((await back.sync()).assignment).toString()).toBe(b.memberId);
    expect([await a.heartbeat(), await back.heartbeat()]).toEqual([E.NONE, E.NONE]);
    expect(await b.heartbeat()).toBe(E.FENCED_INSTANCE_ID);
    expect(await b.commit([positions(0, 1)])).toEqual([E.FENCED_INSTANCE_ID]);
    expect((await b.join()).errorCode).toBe(E.FENCED_INSTANCE_ID);
    expect((await b.leave()).members[0].errorCode).toBe(E.FENCED_INSTANCE_ID);
    expect(await back.commit([positions(0, 1)])).toEqual([E.NONE]);
    expect(await stateOf(group)).toBe("Stable");
  });

  test("a leader that comes back is told to skip the assignment", async () => {
    const group = newGroup();
    const [a] = await two(group);
    const back = await member(group);
    back.instance = a.instance;
    const joined = await back.join();
    expect(joined).toMatchObject({ leader: back.memberId, skipAssignment: true });
    const old = await member(group);
    old.instance = a.instance;
    expect(await old.join(8)).toMatchObject({ leader: back.memberId, members: [] });
  });

  test("LeaveGroup by instance id, several at once", async () => {
    const group = newGroup();
    await two(group);
    const members = ["i0", "i1", "i2"].map((groupInstanceId) => {
      return { memberId: "", groupInstanceId, reason: "gone" };
    });
    const answer = await wire.request(leaveGroup, 5, { groupId: group, memberId: "", members });
    expect(answer.members.map((m) => [m.groupInstanceId, m.errorCode])).toEqual([
      ["i0", E.NONE],
      ["i1", E.NONE],
      ["i2", E.UNKNOWN_MEMBER_ID],
    ]);
    await expect.poll(() => stateOf(group), patiently).toBe("Empty");
  });
});

describe("commits", () => {
  test("without membership, while the group has no members", async () => {
    const group = newGroup();
    const simple = await member(group);
    expect(await simple.commit([positions(0, 10)])).toEqual([E.NONE]);
    expect(await stateOf(group)).toBe("Empty");
    const a = await member(group);
    await a.enter();
    expect(await simple.commit([positions(0, 11)])).toEqual([E.UNKNOWN_MEMBER_ID]);
    await a.leave();
    expect(await simple.commit([positions(0, 12)])).toEqual([E.NONE]);
    expect(await simple.offsets()).toEqual({ "positions/0": 12 });
  });

  test("metadata comes back as it was, up to its limit", async () => {
    const a = await member(newGroup());
    const text = "ü".repeat(limits.offsetMetadataBytesMax / 2);
    expect(await a.commit([positions(0, 1, text), positions(1, 1, `${text}x`)])).toEqual([
      E.NONE,
      E.OFFSET_METADATA_TOO_LARGE,
    ]);
    const topics = [{ name: "positions", partitionIndexes: [0, 1] }];
    const asked = { groupId: a.group, topics, groups: [], requireStable: false };
    const answer = await wire.request(offsetFetch, 5, asked);
    expect(answer.topics[0].partitions.map((p) => p.metadata)).toEqual([text, ""]);
  });

  test("nothing to commit is answered with nothing, and makes no group", async () => {
    const a = await member(newGroup());
    expect(await a.commit([])).toEqual([]);
    expect(await a.commit([{ ...positions(0, 1), topic: "no" }])).toEqual([
      E.UNKNOWN_TOPIC_OR_PARTITION,
    ]);
    expect(await stateOf(a.group)).toBe("Dead");
  });

  test("offsets beyond the log, and beyond all numbers, are kept as what they are", async () => {
    const a = await member(newGroup());
    expect(await a.commit([positions(0, 1e12), positions(1, 2 ** 63)])).toEqual([E.NONE, E.NONE]);
    const far = { "positions/0": 1e12, "positions/1": Number.MAX_SAFE_INTEGER };
    expect(await a.offsets()).toEqual(far);
  });

  test("a time to keep them, negative ones too (versions 2 to 4)", async () => {
    const a = await member(newGroup());
    for (const retentionTimeMs of [-1, -5, 0, 3_600_000, 2 ** 62]) {
      const more = { version: 4, retentionTimeMs };
      expect(await a.commit([positions(0, 1)], more)).toEqual([E.NONE]);
    }
    expect(await a.offsets()).toEqual({ "positions/0": 1 });
  });

  test("of a topic that is deleted go with it", async () => {
    await makeTopic("short-lived");
    const place = { topic: "short-lived", partition: 1, offset: 4 };
    const a = await member(newGroup());
    expect(await a.commit([place, positions(0, 1)])).toEqual([E.NONE, E.NONE]);
    await deleteTopic("short-lived");
    await expect.poll(() => a.offsets(), patiently).toEqual({ "positions/0": 1 });
    await makeTopic("short-lived");
    expect(await a.offsets()).toEqual({ "positions/0": 1 });
    expect(await a.commit([{ ...place, offset: 9 }])).toEqual([E.NONE]);
    expect(await a.offsets()).toEqual({ "positions/0": 1, "short-lived/1": 9 });
  });

  test("of many clients at one moment, each its own", async () => {
    const clients = await Promise.all(Array.from({ length: 200 }, () => member(newGroup())));
    const commits = clients.map((c, i) => c.commit([positions(i % 16, i)]));
    expect((await Promise.all(commits)).flat()).toEqual(clients.map(() => E.NONE));
    for (const [i, c] of clients.entries()) {
      expect(await c.offsets()).toEqual({ [`positions/${i % 16}`]: i });
    }
  });
});

test("requests that hold no group id at all", async () => {
  const nobody = { memberId: "m", groupInstanceId: null };
  const beat = { groupId: "", generationId: 1, ...nobody };
  expect((await wire.request(heartbeat, 4, beat)).errorCode).toBe(E.INVALID_GROUP_ID);
  const leave = { groupId: "", memberId: "m", members: [{ ...nobody, reason: null }] };
  expect((await wire.request(leaveGroup, 2, leave)).errorCode).toBe(E.INVALID_GROUP_ID);
  expect((await wire.request(leaveGroup, 5, leave)).errorCode).toBe(E.INVALID_GROUP_ID);
  const sync = { ...beat, protocolType: "consumer", protocolName: "range", assignments: [] };
  expect((await wire.request(syncGroup, 5, sync)).errorCode).toBe(E.INVALID_GROUP_ID);
  // offsets of a group without a name are Kafka's heritage
  const topics = [{ name: "positions", partitionIndexes: [0] }];
  const fetch = { groupId: "", topics, groups: [], requireStable: false };
  expect((await wire.request(offsetFetch, 5, fetch)).errorCode).toBe(E.NONE);
});

test("a thousand members that join at once settle", { timeout: 120_000 }, async () => {
  const group = newGroup();
  const count = 1000;
  const clients = await Promise.all(Array.from({ length: count }, () => member(group)));
  const settle = async (c: GroupClient): Promise<void> => {
    for (;;) {
      const joined = await c.join(9, { sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 60_000 });
      if (joined.errorCode !== E.NONE) throw new Error(`JoinGroup: ${joined.errorCode}`);
      const all = joined.members.map(({ memberId }) => ({
        memberId,
        assignment: Buffer.from("x"),
      }));
      const synced = await c.sync(5, all);
      if (synced.errorCode === E.REBALANCE_IN_PROGRESS) continue;
      if ((await c.heartbeat()) === E.NONE && joined.errorCode === E.NONE) return;
    }
  };
  await Promise.all(clients.map(settle));
  const late = async (): Promise<number> => {
    const errors = await Promise.all(clients.map((c) => c.heartbeat()));
    const behind = clients.filter((_, i) => errors[i] !== E.NONE);
    await Promise.all(behind.map(settle));
    return behind.length;
  };
  await expect.poll(late, { timeout: 60_000 }).toBe(0);
  expect(new Set(clients.map((c) => c.generation)).size).toBe(1);
  expect(clients.filter((c) => c.isLeader)).toHaveLength(1);
  expect(await stateOf(group)).toBe("Stable");
  for (const c of clients) c.close();
});

test("metrics: groups by state, members, rebalances, commits, and lag", async () => {
  const a = await member(newGroup());
  await a.enter();
  await a.commit([positions(0, 0)]);
  expect(await gateway.metric("milepost_groups", 'state="Stable"')).toBeGreaterThan(0);
  expect(await gateway.metric("milepost_group_members")).toBeGreaterThan(0);
  expect(await gateway.metric("milepost_group_rebalances_total")).toBeGreaterThan(0);
  expect(await gateway.metric("milepost_group_commits_total")).toBeGreaterThan(0);
  const series = `group="${a.group}",topic="positions",partition="0"`;
  expect(await gateway.metrics()).toContain(`milepost_consumer_group_lag{${series}} 0`);
  await a.leave();
  const remove = { groupsNames: [a.group] };
  await expect
    .poll(async () => (await wire.request(deleteGroups, 2, remove)).results[0].errorCode, patiently)
    .toBe(E.NONE);
  expect(await gateway.metrics()).not.toContain(a.group);
});
