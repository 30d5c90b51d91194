/** The coordinator over a real log. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { GroupCoordinator } from "../../src/groups/coordinator.ts";
import { OFFSETS_TOPIC, partitionOfGroup } from "../../src/groups/journal.ts";
import { encodeGroupKey } from "../../src/groups/records.ts";
import type { LogPort } from "../../src/log/client.ts";
import { LogReader } from "../../src/log/reader.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { limits } from "../../src/model/limits.ts";
import { builtInTopics } from "../../src/model/topic-config.ts";
import { E } from "../../src/wire/errors.ts";
import { startLog } from "../log/log-thread.ts";
import { assignment } from "../kafka/group-client.ts";
import { subscription } from "./machine.ts";

const forever = new AbortController().signal;
const nobody = { memberId: "", groupInstanceId: null };
const consumer = {
  ...nobody,
  clientId: "c",
  clientHost: "127.0.0.1",
  sessionTimeoutMs: 30_000,
  rebalanceTimeoutMs: 30_000,
  protocolType: "consumer",
  protocols: new Map([["range", subscription("t")]]),
  requiresMemberId: false,
  knowsSkipAssignment: true,
};
/** Of a SyncGroup before version 5. */
const unnamed = { protocolType: null, protocolName: null };
const day = 24 * 3_600_000;

let log: LogPort;

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), "milepost-groups-"));
  const { port } = await startLog(dir, (stop) =>
    afterAll(async () => {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    }),
  );
  log = await port();
});

/** The same log, but for these. */
function withOwn(own: Partial<LogPort>): LogPort {
  return new Proxy(log, {
    get(target, name) {
      if (name in own) return own[name as keyof LogPort];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

class Node {
  readonly lines: string[] = [];
  now = Date.now();
  log = log;
  registry = new Registry();
  groups = this.#open();

  /** With topics of its own. */
  static async start(): Promise<Node> {
    for (const { name } of log.topics()) await log.call("deleteTopic", name);
    const offsets = builtInTopics.find(({ name }) => name === OFFSETS_TOPIC);
    await log.call("createTopic", OFFSETS_TOPIC, offsets?.partitions ?? 0, offsets?.config ?? {});
    await log.call("createTopic", "t", 4, {});
    const node = new Node();
    onTestFinished(() => node.groups.stop());
    await node.groups.loaded;
    return node;
  }

  #open(): GroupCoordinator {
    const report = (line: string) => void this.lines.push(line);
    const { log } = this;
    const reader = new LogReader(log);
    const now = (): number => this.now;
    this.registry = new Registry();
    return new GroupCoordinator({ log, reader, registry: this.registry, report, now });
  }

  /** What the log says, and nothing else. */
  async restart(): Promise<void> {
    this.groups.stop();
    this.groups = this.#open();
    await this.groups.loaded;
  }

  commit(
    group: string,
    offset: number,
    more: { partition?: number; retentionMs?: number; metadata?: string } = {},
  ) {
    const { partition = 0, retentionMs = -1, metadata = "" } = more;
    return this.groups.commits.commit({
      group,
      member: nobody,
      generation: -1,
      retentionMs,
      knowsGroupNotFound: true,
      offsets: [{ topic: "t", partition, offset, leaderEpoch: -1, metadata }],
    });
  }

  /** Partition → offset. */
  offsets(group: string): Record<number, number> {
    const { topics } = this.groups.commits.fetch(group, null);
    const rows = topics.flatMap(({ partitions }) => partitions);
    return Object.fromEntries(rows.map((p) => [p.partitionIndex, p.committedOffset]));
  }

  /** As a scrape has it; undefined: it says nothing of the group. */
  async lagSeconds(group: string): Promise<number | undefined> {
    await this.groups.measure();
    const name = "milepost_consumer_group_lag_seconds";
    const found = this.registry.snapshot().find((m) => m.name === name && m.labels.group === group);
    return found?.type === "gauge" ? found.value : undefined;
  }

  /** A member of a stable group, who reads `t`. */
  async join(group: string): Promise<{ memberId: string; groupInstanceId: null }> {
    const joined = await this.groups.join(group, consumer, forever);
    const { memberId = "", generationId = -1 } = joined ?? {};
    const identity = { memberId, groupInstanceId: null };
    const assignments = new Map([[memberId, assignment("t", 0, 1)]]);
    await this.groups.sync(group, { ...identity, generationId, ...unnamed, assignments }, forever);
    return identity;
  }
}

test("lag in seconds is the age of the oldest record that is not committed", async () => {
  const node = await Node.start();
  const append = (partition: number, timestamp: number) =>
    log.append("t", [{ key: null, value: Buffer.from("x"), partition, timestamp }]);
  const value = (group: string): Promise<number | undefined> => node.lagSeconds(group);
  await node.commit("g", 0);
  await node.commit("g", 0, { partition: 1 });
  expect(await value("g")).toBe(0);
  await append(0, node.now - 50_000);
  await append(0, node.now - 20_000);
  await append(1, node.now - 30_000);
  expect(await value("g")).toBe(50);
  node.now += 1000;
  expect(await value("g")).toBe(51);
  await node.commit("g", 1);
  expect(await value("g")).toBe(31);
  await node.commit("g", 1, { partition: 1 });
  expect(await value("g")).toBe(21);
  // what retention took is nobody's lag any more
  await append(0, node.now - 10_000);
  await log.call("deleteRecords", "t", 0, 2);
  expect(await value("g")).toBe(10);
  await node.commit("g", 3);
  expect(await value("g")).toBe(0);
  // the topic has gone, and so has what was committed
  await node.groups.operator.delete("g");
  expect(await value("g")).toBe(undefined);
});

describe("the log", () => {
  test("commits of one moment go to it together", async () => {
    const node = await Node.start();
    const commits = async () => (await log.call("metrics")).commits;
    const before = await commits();
    const all = Array.from({ length: 1000 }, (_, i) => node.commit(`g${i}`, i));
    expect((await Promise.all(all)).flat().every((error) => error === E.NONE)).toBe(true);
    // how many depends on how fast they come through the port beside the flushes
    expect((await commits()) - before).toBeLessThan(50);
    await node.restart();
    for (let i = 0; i < 1000; i++) expect(node.offsets(`g${i}`)).toEqual({ 0: i });
  });

  test("commits of one group are kept in their order", async () => {
    const node = await Node.start();
    const all = Array.from({ length: 50 }, (_, i) => node.commit("g", i));
    await Promise.all(all);
    expect(node.offsets("g")).toEqual({ 0: 49 });
    await node.restart();
    expect(node.offsets("g")).toEqual({ 0: 49 });
  });

  test("a record that is none is reported; the others count", async () => {
    const node = await Node.start();
    await node.commit("g", 1);
    const partition = partitionOfGroup("g");
    const [key, value] = [encodeGroupKey("g"), Buffer.from("0077", "hex")];
    await log.append(OFFSETS_TOPIC, [
      { key, value, partition },
      { key: Buffer.from("0009", "hex"), value, partition },
    ]);
    await node.restart();
    expect(node.offsets("g")).toEqual({ 0: 1 });
    expect(node.lines).toEqual([expect.stringContaining(`${OFFSETS_TOPIC}/${partition} at 1`)]);
  });

  test("an operator who lowers its level is overruled", async () => {
    const node = await Node.start();
    const changes = { "milepost.durability": "logged", "cleanup.policy": "delete" };
    node.groups.stop();
    await log.call("alterTopic", OFFSETS_TOPIC, changes);
    await node.restart();
    const config = () => log.call("effectiveConfig", OFFSETS_TOPIC);
    const safe = { "milepost.durability": "flushed", "cleanup.policy": "compact" };
    expect(await config()).toMatchObject(safe);
    expect(node.lines).toHaveLength(1);
    // and at once while the node runs: retention would take what members go on from
    await log.call("alterTopic", OFFSETS_TOPIC, changes);
    await expect.poll(config).toMatchObject(safe);
    expect(node.lines).toHaveLength(2);
  });

  test("a group with the most metadata and assignments is one record of it", async () => {
    const node = await Node.start();
    const { memberId } = await node.join("g");
    const large = new Uint8Array(limits.groupBytesMax - 4096).fill(7);
    const joined = await node.groups.join("g", { ...consumer, memberId }, forever);
    const generationId = joined?.generationId ?? -1;
    const assignments = new Map([[memberId, large]]);
    const sync = { memberId, groupInstanceId: null, generationId, ...unnamed, assignments };
    expect((await node.groups.sync("g", sync, forever))?.errorCode).toBe(E.NONE);
    await node.restart();
    const after = await node.groups.sync("g", { ...sync, assignments: new Map() }, forever);
    expect(Buffer.compare(after?.assignment as Uint8Array, large)).toBe(0);
  });

  test("what it refuses of one group is no other group's refusal", async () => {
    const node = await Node.start();
    // it does not hear of the change, and so does not undo it
    node.log = withOwn({ onTopics: () => {} });
    await node.restart();
    await log.call("alterTopic", OFFSETS_TOPIC, { "max.message.bytes": "3000" });
    const long = "x".repeat(3500);
    const large = node.commit("large", 1, { metadata: long });
    const small = node.commit("small", 2);
    expect(partitionOfGroup("small")).not.toBe(partitionOfGroup("large"));
    expect(await Promise.all([large, small])).toEqual([[E.INVALID_COMMIT_OFFSET_SIZE], [E.NONE]]);
    expect(node.offsets("small")).toEqual({ 0: 2 });
    await node.restart();
    expect(node.offsets("small")).toEqual({ 0: 2 });
    expect(node.offsets("large")).toEqual({});
  });

  test("while it is not loaded a group is refused, but for heartbeats", async () => {
    const node = await Node.start();
    const member = await node.join("g");
    const loading = node.restart();
    const { groups } = node;
    expect(groups.commits.fetch("g", null).errorCode).toBe(E.COORDINATOR_LOAD_IN_PROGRESS);
    expect(await node.commit("g", 1)).toEqual([E.COORDINATOR_LOAD_IN_PROGRESS]);
    expect(groups.leave("g", [member]).errorCode).toBe(E.COORDINATOR_LOAD_IN_PROGRESS);
    expect(groups.heartbeat("g", member, 1)).toBe(E.NONE);
    const sync = { ...member, generationId: 1, ...unnamed, assignments: new Map() };
    expect((await groups.sync("g", sync, forever))?.errorCode).toBe(E.REBALANCE_IN_PROGRESS);
    expect(() => groups.operator.list()).toThrow("being loaded");
    await loading;
    expect(groups.heartbeat("g", member, 1)).toBe(E.NONE);
    expect(groups.heartbeat("g", member, 2)).toBe(E.ILLEGAL_GENERATION);
  });
});

describe("offsets expire", () => {
  test("of a group without members, a week after each commit", async () => {
    const node = await Node.start();
    await node.commit("g", 1);
    node.now += 3 * day;
    await node.commit("g", 2, { partition: 1 });
    node.now += 4 * day - 1;
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 0: 1, 1: 2 });
    node.now += 1;
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 1: 2 });
    node.now += 3 * day;
    await node.groups.commits.expire();
    expect(node.groups.operator.list()).toEqual([]);
    await node.restart();
    expect(node.groups.operator.list()).toEqual([]);
  });

  test("when the client said so, and not by a negative time", async () => {
    const node = await Node.start();
    await node.commit("g", 1, { retentionMs: 1000 });
    await node.commit("g", 2, { partition: 1, retentionMs: 30 * day });
    await node.commit("g", 3, { partition: 2, retentionMs: -7 });
    node.now += 1000;
    await node.restart();
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 1: 2, 2: 3 });
    node.now += 8 * day;
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 1: 2 });
  });

  test("a week after the last member left, whenever they were committed", async () => {
    const node = await Node.start();
    await node.commit("g", 1);
    const member = await node.join("g");
    node.now += 30 * day;
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 0: 1 });
    node.groups.leave("g", [member]);
    expect(node.groups.operator.describe("g").state).toBe("Empty");
    // what was to be written before is written
    await node.commit("another", 1);
    node.now += 7 * day - 1;
    await node.restart();
    await node.groups.commits.expire();
    expect(node.offsets("g")).toEqual({ 0: 1 });
    node.now += 1;
    await node.groups.commits.expire();
    expect(node.groups.operator.list()).toEqual([]);
    await node.restart();
    expect(node.groups.operator.list()).toEqual([]);
  });

  test("of a topic that the members have left, while they read others", async () => {
    const node = await Node.start();
    await log.call("createTopic", "left", 1, {});
    await node.commit("g", 1);
    await node.groups.operator.resetOffsets("g", [{ topic: "left", partition: 0, offset: 5 }]);
    await node.join("g");
    node.now += 7 * day;
    await node.groups.commits.expire();
    const { offsets } = node.groups.operator.describe("g");
    expect(offsets.map(({ topic, committed }) => [topic, committed])).toEqual([["t", 1]]);
  });

  test("a group with nothing left goes at the next look", async () => {
    const node = await Node.start();
    node.groups.leave("g", [await node.join("g")]);
    await node.groups.commits.expire();
    expect(node.groups.operator.list()).toEqual([]);
    await node.restart();
    expect(node.groups.operator.list()).toEqual([]);
  });
});

describe("topics that are deleted", () => {
  test("take commits with them, those on their way too, and only theirs", async () => {
    const node = await Node.start();
    await node.commit("g", 1);
    await log.call("createTopic", "u", 1, {});
    const reset = (offset: number) =>
      node.groups.operator.resetOffsets("g", [{ topic: "u", partition: 0, offset }]);
    await reset(1);
    const late = reset(2);
    const gone = log.call("deleteTopic", "u");
    await Promise.all([late, gone]);
    const left = () => node.groups.operator.describe("g").offsets.map(({ topic }) => topic);
    await expect.poll(left).toEqual(["t"]);
    await log.call("createTopic", "u", 1, {});
    await reset(3);
    await node.restart();
    expect(left()).toEqual(["t", "u"]);
    expect(node.groups.operator.describe("g").offsets[1].committed).toBe(3);
  });

  test("and not what is on its way to one made anew under the name", async () => {
    const node = await Node.start();
    const { commits } = node.groups;
    await node.commit("g", 1);
    commits.topicGone("t");
    node.now += 1;
    const late = node.commit("g", 2);
    const forgotten = commits.forgetTopics();
    expect(await late).toEqual([E.NONE]);
    await forgotten;
    expect(node.offsets("g")).toEqual({ 0: 2 });
    await node.restart();
    expect(node.offsets("g")).toEqual({ 0: 2 });
  });

  test("while nobody looked", async () => {
    const node = await Node.start();
    await log.call("createTopic", "u", 1, {});
    await node.groups.operator.resetOffsets("g", [{ topic: "u", partition: 0, offset: 1 }]);
    node.groups.stop();
    await log.call("deleteTopic", "u");
    await node.restart();
    await expect.poll(() => node.groups.table.get("g")?.offsets.size).toBe(0);
  });
});

describe("operators", () => {
  test("see groups, members, assignments and offsets", async () => {
    const node = await Node.start();
    await node.commit("a", 1);
    const { memberId } = await node.join("b");
    expect(node.groups.operator.list()).toEqual([
      { group: "a", state: "Empty", protocolType: "", members: 0 },
      { group: "b", state: "Stable", protocolType: "consumer", members: 1 },
    ]);
    expect(node.groups.operator.describe("b").members).toEqual([
      {
        memberId,
        clientId: "c",
        host: "127.0.0.1",
        assignment: [
          ["t", 0],
          ["t", 1],
        ],
      },
    ]);
    const committedAt = node.now;
    expect(node.groups.operator.describe("a").offsets).toEqual([
      { topic: "t", partition: 0, committed: 1, committedAt },
    ]);
    expect(() => node.groups.operator.describe("c")).toThrow("no such group: c");
  });

  test("set offsets and delete groups, where there are no members", async () => {
    const node = await Node.start();
    const { operator } = node.groups;
    const to = (partition: number, offset = 9) =>
      operator.resetOffsets("g", [{ topic: "t", partition, offset }]);
    await to(2);
    expect(node.offsets("g")).toEqual({ 2: 9 });
    await expect(to(7)).rejects.toThrow("no such partition: t/7");
    const member = await node.join("g");
    await expect(to(2, 10)).rejects.toThrow("the group has members: g");
    await expect(operator.delete("g")).rejects.toThrow("the group has members: g");
    node.groups.leave("g", [member]);
    await operator.delete("g");
    await expect(operator.delete("g")).rejects.toThrow("no such group: g");
    await node.restart();
    expect(node.groups.operator.list()).toEqual([]);
  });

  test("delete a group while commits are on their way", async () => {
    const node = await Node.start();
    await node.commit("g", 1);
    const late = node.commit("g", 2, { partition: 1 });
    const gone = node.groups.operator.delete("g");
    // until its end is known nobody may use it
    expect(await node.commit("g", 3)).toEqual([E.COORDINATOR_NOT_AVAILABLE]);
    await Promise.all([late, gone]);
    expect(await node.commit("g", 4)).toEqual([E.NONE]);
    await node.restart();
    expect(node.offsets("g")).toEqual({ 0: 4 });
  });
});

test("a commit that is refused while its group is deleted leaves nothing behind", async () => {
  const node = await Node.start();
  let appends = 0;
  const append: LogPort["append"] = async (...args) => {
    if (appends++ > 0) return log.append(...args);
    await setTimeout(20);
    throw new MilepostError("disk_full");
  };
  node.log = withOwn({ append });
  await node.restart();
  const first = node.commit("g", 1);
  await setTimeout(5);
  const gone = node.groups.operator.delete("g");
  expect(await first).toEqual([E.COORDINATOR_NOT_AVAILABLE]);
  const [error] = await node.commit("g", 2);
  await gone;
  expect(node.offsets("g")).toEqual(error === E.NONE ? { 0: 2 } : {});
  expect(await node.commit("g", 3)).toEqual([E.NONE]);
  expect(node.offsets("g")).toEqual({ 0: 3 });
  await node.restart();
  expect(node.offsets("g")).toEqual({ 0: 3 });
});

describe("bounds", () => {
  test("a group of a client that is refused is not kept", async () => {
    const node = await Node.start();
    const nothing = { ...consumer, protocols: new Map() };
    const refused = await node.groups.join("g", nothing, forever);
    expect(refused?.errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect(node.groups.table.size).toBe(0);
    expect(node.groups.table.bytes).toBe(0);
  });

  test("who goes away while it waits is not kept", async () => {
    const node = await Node.start();
    await node.join("g");
    const gone = new AbortController();
    const waits = node.groups.join("g", consumer, gone.signal);
    expect(node.groups.table.get("g")?.group.state).toBe("PreparingRebalance");
    gone.abort();
    expect(await waits).toBeNull();
    expect(await node.groups.join("h", consumer, gone.signal)).toBeNull();
    expect(node.groups.table.get("g")?.group.members.size).toBe(2);
  });

  test("memory that groups take comes back", async () => {
    const node = await Node.start();
    const before = node.groups.table.bytes;
    const member = await node.join("g");
    await node.commit("h", 1);
    expect(node.groups.table.bytes).toBeGreaterThan(before);
    node.groups.leave("g", [member]);
    await node.groups.operator.delete("g");
    await node.groups.operator.delete("h");
    expect(node.groups.table.bytes).toBe(0);
  });

  test("no room left: who is there goes on, who is new is refused and not kept", async () => {
    const node = await Node.start();
    const { table } = node.groups;
    await node.commit("g", 1);
    const before = table.bytes;
    table.bytes = limits.groupsBytesMax;
    expect(await node.commit("g", 2)).toEqual([E.NONE]);
    expect(await node.commit("g", 1, { partition: 1 })).toEqual([E.INVALID_COMMIT_OFFSET_SIZE]);
    expect(await node.commit("h", 1)).toEqual([E.INVALID_COMMIT_OFFSET_SIZE]);
    expect(node.groups.operator.list().map(({ group }) => group)).toEqual(["g"]);
    expect(table.bytes).toBe(limits.groupsBytesMax);
    table.bytes = before;
    expect(node.offsets("g")).toEqual({ 0: 2 });
  });

  test("groups beyond the limit are refused", async () => {
    const node = await Node.start();
    const all = Array.from({ length: limits.groupsMax }, (_, i) => node.commit(`g${i}`, 1));
    await Promise.all(all);
    expect(await node.commit("one more", 1)).toEqual([E.POLICY_VIOLATION]);
    expect(await node.commit("g7", 2)).toEqual([E.NONE]);
    await node.groups.operator.delete("g8");
    expect(await node.commit("one more", 1)).toEqual([E.NONE]);
  });
});
