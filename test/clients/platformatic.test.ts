/** @platformatic/kafka, unchanged, as npm brings it. */
import {
  Admin,
  compatibilityPartitioner,
  ConfigResourceTypes,
  Consumer,
  FindCoordinatorKeyTypes,
  IncrementalAlterConfigOperationTypes,
  Producer,
  type ConsumeOptions,
  type ConsumerOptions,
  type GenericError,
  type MessagesStream,
  type ProducerOptions,
} from "@platformatic/kafka";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  fresh,
  isKafka,
  ownPartition,
  startBroker,
  text,
  type Broker,
  type ClientRecord,
} from "./broker.ts";
import { Ledger } from "./ledger.ts";
import { asRecord, options } from "./platformatic.ts";

type Stream = MessagesStream<Buffer, Buffer, Buffer, Buffer>;
type Producing = Partial<ProducerOptions<Buffer, Buffer, Buffer, Buffer>>;
type Consuming = Partial<ConsumerOptions<Buffer, Buffer, Buffer, Buffer>>;
type Reads = Partial<ConsumeOptions<Buffer, Buffer, Buffer, Buffer>>;

const patiently = { timeout: 20_000, interval: 20 };
/** Long enough for a killed member to come back. */
const seldom = { sessionTimeout: 30_000, rebalanceTimeout: 30_000 };
const program = new URL("member.ts", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "milepost-platformatic-"));
const children: ChildProcess[] = [];
const open: (Producer | Consumer)[] = [];
let broker: Broker;
let admin: Admin;
beforeAll(async () => {
  broker = await startBroker();
  admin = new Admin(options(broker.address));
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await Promise.all(open.splice(0).map((client) => client.close(true)));
});
afterAll(async () => {
  await admin?.close();
  await broker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function topicOf(name: string, partitions: number): Promise<string> {
  const topic = fresh(name);
  const [made] = await admin.createTopics({ topics: [topic], partitions, replicas: 1 });
  expect(made).toMatchObject({ name: topic, partitions, replicas: 1 });
  return topic;
}

function producer(more: Producing = {}): Producer {
  const made = new Producer({
    ...options(broker.address),
    partitioner: compatibilityPartitioner,
    ...more,
  });
  open.push(made);
  return made;
}

function consumer(groupId: string, more: Consuming = {}): Consumer {
  const made = new Consumer({
    ...options(broker.address),
    groupId,
    maxWaitTime: 50,
    sessionTimeout: 6000,
    rebalanceTimeout: 10_000,
    heartbeatInterval: 200,
    ...more,
  });
  open.push(made);
  made.on("error", () => {}); // what failed in the background; the tests look at what came of it
  return made;
}

/** The name of the error that Kafka's protocol has for this failure. */
async function failure(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    const found = (error as GenericError).findBy?.("code", "PLT_KFK_PROTOCOL");
    return found === null || found === undefined ? String(error) : found.apiId;
  }
  return "none";
}

/** A member that keeps what it gets. */
type Reading = { member: Consumer; stream: Stream; records: ClientRecord[] };

async function read(member: Consumer, topic: string, more: Reads = {}): Promise<Reading> {
  const stream = await member.consume({ topics: [topic], mode: "earliest", ...more });
  const records: ClientRecord[] = [];
  stream.on("data", (message) => records.push(asRecord(message)));
  stream.on("error", () => {});
  return { member, stream, records };
}

const owned = (member: Consumer): number[] =>
  (member.assignments ?? []).flatMap(({ partitions }) => partitions).sort();

const messages = (topic: string, prefix: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({
    topic,
    key: Buffer.from(`${prefix}-${i % 7}`),
    value: Buffer.from(`${prefix} ${i}`),
  }));
const values = (records: ClientRecord[]): (string | null)[] => records.map((r) => text(r.value));
const valuesOf = (prefix: string, count: number): string[] =>
  messages("", prefix, count).map((message) => String(message.value));

describe("the producer", () => {
  test.each(["none", "gzip", "snappy", "lz4", "zstd"] as const)("%s", async (compression) => {
    const topic = await topicOf(compression, 3);
    const sent = messages(topic, "c", 500);
    const { offsets } = await producer().send({ messages: sent, compression, acks: -1 });
    expect(offsets?.map(({ offset }) => offset)).toEqual([0n, 0n, 0n]);
    const { records } = await read(consumer(fresh("group")), topic);
    await expect.poll(() => records.length, patiently).toBe(500);
    expect(values(records).sort()).toEqual(valuesOf("c", 500).sort());
    for (const { key, partition } of records) {
      expect(partition).toBe(ownPartition(key as Buffer, 3));
    }
  });

  test.each([0, 1, -1])("acks %i", async (acks) => {
    const topic = await topicOf("acks", 1);
    const told = await producer().send({ messages: messages(topic, "a", 20), acks });
    if (acks === 0) expect(told).toEqual({ unwritableNodes: [] });
    else expect(told.offsets).toEqual([{ topic, partition: 0, offset: 0n }]);
    const { records } = await read(consumer(fresh("group")), topic);
    await expect.poll(() => values(records), patiently).toEqual(valuesOf("a", 20));
  });

  test("headers, tombstones, null keys, timestamps, any bytes", async () => {
    const topic = await topicOf("bytes", 1);
    const odd = Buffer.from([0, 255, 10, 128]);
    const headers = new Map([[Buffer.from("a"), odd]]);
    await producer().send({
      messages: [
        { topic, key: odd, value: odd, headers, timestamp: 1_700_000_000_123n },
        { topic, value: Buffer.from("v"), timestamp: 1_699_999_999_001n },
        { topic, key: Buffer.from("gone"), timestamp: 1_700_000_000_124n },
      ],
      acks: -1,
    });
    const { records } = await read(consumer(fresh("group")), topic);
    await expect.poll(() => records.length, patiently).toBe(3);
    expect(records).toMatchObject([
      { offset: 0, timestamp: 1_700_000_000_123, key: odd, value: odd, headers: [["a", odd]] },
      { offset: 1, timestamp: 1_699_999_999_001, key: null, value: Buffer.from("v"), headers: [] },
      { offset: 2, timestamp: 1_700_000_000_124, key: Buffer.from("gone"), value: null },
    ]);
  });

  test("idempotent: each once, in order", async () => {
    const topic = await topicOf("idempotent", 2);
    const from = producer({ idempotent: true });
    for (let round = 0; round < 20; round++) {
      await from.send({ messages: messages(topic, `r${round}`, 20) });
    }
    const { records } = await read(consumer(fresh("group")), topic);
    await expect.poll(() => records.length, patiently).toBe(400);
    const sent = Array.from({ length: 20 }, (_, round) => messages(topic, `r${round}`, 20)).flat();
    for (const partition of [0, 1]) {
      const own = records.filter((r) => r.partition === partition);
      expect(own.map((r) => r.offset)).toEqual(own.map((_, i) => i));
      const expected = sent.filter(({ key }) => ownPartition(key, 2) === partition);
      expect(values(own)).toEqual(expected.map(({ value }) => String(value)));
    }
  });

  test("as a stream", async () => {
    const topic = await topicOf("stream", 1);
    const stream = producer().asStream({ batchSize: 50, batchTime: 20 });
    for (const message of messages(topic, "s", 200)) stream.write(message);
    await stream.close();
    const { records } = await read(consumer(fresh("group")), topic);
    await expect.poll(() => values(records), patiently).toEqual(valuesOf("s", 200));
  });

  test.skipIf(isKafka)("a transaction is refused, and says so", async () => {
    const from = producer({ idempotent: true, transactionalId: fresh("txn"), retries: 0 });
    await expect(from.beginTransaction({})).rejects.toThrow();
  });
});

describe("the consumer", () => {
  test("earliest, latest, committed and manual", async () => {
    const [topic, group] = [await topicOf("modes", 1), fresh("group")];
    const from = producer();
    await from.send({ messages: messages(topic, "old", 20), acks: -1 });
    const earliest = await read(consumer(fresh("group")), topic);
    await expect.poll(() => earliest.records.length, patiently).toBe(20);
    const latest = await read(consumer(fresh("group")), topic, { mode: "latest" });
    const offsets = [{ topic, partition: 0, offset: 15n }];
    const manual = await read(consumer(fresh("group")), topic, { mode: "manual", offsets });
    await expect
      .poll(() => values(manual.records), patiently)
      .toEqual(valuesOf("old", 20).slice(15));
    await from.send({ messages: messages(topic, "new", 20), acks: -1 });
    await expect.poll(() => values(latest.records), patiently).toEqual(valuesOf("new", 20));

    const first = consumer(group);
    await first.joinGroup({});
    first.topics.track(topic);
    await first.commit({ offsets: [{ topic, partition: 0, offset: 33n, leaderEpoch: 0 }] });
    await first.close(true);
    const committed = await read(consumer(group), topic, { mode: "committed" });
    await expect
      .poll(() => values(committed.records), patiently)
      .toEqual(valuesOf("new", 20).slice(13));
    const none = { mode: "committed", fallbackMode: "earliest" } as const;
    const fallback = await read(consumer(fresh("group")), topic, none);
    await expect.poll(() => fallback.records.length, patiently).toBe(40);
  });

  test("what a message commits, and what commits by itself", async () => {
    const topic = await topicOf("commits", 1);
    await producer().send({ messages: messages(topic, "c", 50), acks: -1 });
    const groups = [fresh("group"), fresh("group")];
    const byHand = consumer(groups[0]);
    const stream = await byHand.consume({ topics: [topic], mode: "earliest", autocommit: false });
    let seen = 0;
    for await (const message of stream) {
      seen++;
      if (message.offset === 29n) {
        await message.commit();
        break;
      }
    }
    expect(seen).toBe(30);
    const committed = async (member: Consumer): Promise<bigint[] | undefined> =>
      (await member.listCommittedOffsets({ topics: [{ topic, partitions: [0] }] })).get(topic);
    expect(await committed(byHand)).toEqual([30n]);
    const itself = consumer(groups[1]);
    const { records } = await read(itself, topic, { autocommit: 100 });
    await expect.poll(() => records.length, patiently).toBe(50);
    await expect.poll(() => committed(itself), patiently).toEqual([50n]);
  });

  test("two members share, one leaves, the other takes all", async () => {
    const [topic, group] = [await topicOf("shared", 4), fresh("group")];
    const from = producer();
    const first = await read(consumer(group), topic, {
      mode: "committed",
      fallbackMode: "earliest",
    });
    const again = { mode: "committed", fallbackMode: "earliest" } as const;
    const second = await read(consumer(group), topic, again);
    await expect
      .poll(() => [owned(first.member).length, owned(second.member).length], patiently)
      .toEqual([2, 2]);
    expect([...owned(first.member), ...owned(second.member)].sort()).toEqual([0, 1, 2, 3]);
    await from.send({ messages: messages(topic, "both", 100), acks: -1 });
    const got = (): string[] => values([...first.records, ...second.records]) as string[];
    await expect.poll(() => new Set(got()).size, patiently).toBe(100);
    await second.member.close(true);
    await expect.poll(() => owned(first.member), patiently).toEqual([0, 1, 2, 3]);
    await from.send({ messages: messages(topic, "after", 100), acks: -1 });
    await expect.poll(() => new Set(got()).size, patiently).toBe(200);
  });

  test("a static member that comes back within its time changes nothing", async () => {
    const [topic, group] = [await topicOf("static", 4), fresh("group")];
    const first = consumer(group, { ...seldom, groupInstanceId: "one" });
    await read(first, topic);
    const path = join(folder, "static");
    writeFileSync(path, "");
    const start = (name: string) => {
      const words = ["platformatic", broker.address, group, topic, path, name, "two"];
      const child = spawn(process.execPath, [program, ...words], { stdio: "ignore" });
      children.push(child);
      return child;
    };
    const ownedBy = (name: string) => new Ledger(path).update().owned(name);
    const killed = start("killed");
    await expect
      .poll(() => [owned(first).length, ownedBy("killed").length], patiently)
      .toEqual([2, 2]);
    const { generationId } = first;
    killed.kill("SIGKILL");
    start("again");
    await expect.poll(() => ownedBy("again"), patiently).toEqual(ownedBy("killed"));
    expect(first.generationId).toBe(generationId);
    expect(owned(first)).toHaveLength(2);
    const described = (await admin.describeGroups({ groups: [group] })).get(group);
    const instances = [...(described?.members.values() ?? [])].map((m) => m.groupInstanceId);
    expect(instances.sort()).toEqual(["one", "two"]);
  });

  test("offsets by time, and lag", async () => {
    const topic = await topicOf("times", 1);
    const times = [1000n, 3000n, 2000n, 4000n].map((ms) => 1_700_000_000_000n + ms);
    const value = Buffer.from("v");
    const from = producer();
    const sent = times.map((timestamp) => ({ topic, value, timestamp }));
    await from.send({ messages: sent, acks: -1 });
    const member = consumer(fresh("group"));
    const at = async (timestamp: bigint): Promise<bigint | undefined> =>
      (await member.listOffsets({ topics: [topic], timestamp })).get(topic)?.[0];
    expect([await at(-2n), await at(-1n)]).toEqual([0n, 4n]);
    expect([await at(times[0]), await at(times[0] + 1n), await at(times[1] + 1n)]).toEqual([
      0n,
      1n,
      3n,
    ]);
    expect(await at(times[3] + 1n)).toBe(-1n);
    const max = await member.listOffsetsWithTimestamps({ topics: [topic], timestamp: -3n });
    expect(max.get(topic)?.get(0)).toEqual({ offset: 3n, timestamp: times[3] });

    const { stream } = await read(member, topic, { autocommit: 100 });
    const lags: bigint[][] = [];
    member.on("consumer:lag", (lag) => lags.push(lag.get(topic) as bigint[]));
    member.startLagMonitoring({ topics: [topic] }, 1000);
    await expect.poll(() => lags.at(-1), patiently).toEqual([0n]);
    stream.pause();
    await from.send({ messages: sent, acks: -1 });
    await expect
      .poll(async () => (await member.getLag({ topics: [topic] })).get(topic), patiently)
      .toEqual([4n]);
    await expect.poll(() => lags.at(-1), patiently).toEqual([4n]);
    member.stopLagMonitoring();
    stream.resume();
  });
});

describe("the admin client", () => {
  test("topics are made, looked at, grown and deleted", async () => {
    const topic = await topicOf("made", 2);
    expect(await admin.listTopics()).toContain(topic);
    expect(await failure(admin.createTopics({ topics: [topic] }))).toBe("TOPIC_ALREADY_EXISTS");
    await admin.createPartitions({ topics: [{ name: topic, count: 7 }], validateOnly: true });
    await admin.createPartitions({ topics: [{ name: topic, count: 5 }] });
    const partitions = async (): Promise<number | undefined> => {
      const metadata = await admin.metadata({ topics: [topic], forceUpdate: true });
      return metadata.topics.get(topic)?.partitionsCount;
    };
    await expect.poll(partitions, patiently).toBe(5);
    await admin.deleteTopics({ topics: [topic] });
    await expect.poll(() => admin.listTopics(), patiently).not.toContain(topic);
  });

  test("settings are described and changed, whole or one by one", async () => {
    const topic = await topicOf("settings", 1);
    const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic };
    const value = async (name: string): Promise<string | null | undefined> => {
      const wanted = { ...resource, configurationKeys: [name] };
      const [told] = await admin.describeConfigs({ resources: [wanted], includeSynonyms: true });
      expect(told.configs.map((config) => config.name)).toEqual([name]);
      return told.configs[0].value;
    };
    expect(await value("cleanup.policy")).toBe("delete");
    const { SET, DELETE, APPEND, SUBTRACT } = IncrementalAlterConfigOperationTypes;
    const change = async (
      name: string,
      configOperation: typeof SET | typeof APPEND | typeof SUBTRACT | typeof DELETE,
      value = "",
    ): Promise<void> => {
      const config =
        configOperation === DELETE ? { name, configOperation } : { name, configOperation, value };
      await admin.incrementalAlterConfigs({ resources: [{ ...resource, configs: [config] }] });
    };
    await change("retention.ms", SET, "7200000");
    await expect.poll(() => value("retention.ms"), patiently).toBe("7200000");
    await change("cleanup.policy", APPEND, "compact");
    await expect.poll(() => value("cleanup.policy"), patiently).toBe("delete,compact");
    await change("cleanup.policy", SUBTRACT, "delete");
    await expect.poll(() => value("cleanup.policy"), patiently).toBe("compact");
    await change("cleanup.policy", DELETE);
    await expect.poll(() => value("cleanup.policy"), patiently).toBe("delete");
    expect(await value("retention.ms")).toBe("7200000");
    const configs = [{ name: "segment.bytes", value: "1048576" }];
    await admin.alterConfigs({ resources: [{ ...resource, configs }] });
    await expect.poll(() => value("segment.bytes"), patiently).toBe("1048576");
    expect(await value("retention.ms")).not.toBe("7200000");
    expect(await failure(change("retention.ms", SET, "soon"))).toBe("INVALID_CONFIG");
  });

  test("offsets are listed, records deleted, sizes told", async () => {
    const topic = await topicOf("records", 1);
    await producer().send({ messages: messages(topic, "r", 100), acks: -1 });
    const list = async (timestamp: bigint): Promise<bigint> => {
      const partitions = [{ partitionIndex: 0, timestamp }];
      const [told] = await admin.listOffsets({ topics: [{ name: topic, partitions }] });
      return told.partitions[0].offset;
    };
    expect([await list(-2n), await list(-1n)]).toEqual([0n, 100n]);
    const remove = (offset: bigint) =>
      admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset }] }] });
    expect(await remove(60n)).toEqual([
      { name: topic, partitions: [{ partition: 0, lowWatermark: 60n }] },
    ]);
    expect(await list(-2n)).toBe(60n);
    expect(await failure(remove(101n))).toBe("OFFSET_OUT_OF_RANGE");
    const [dirs] = await admin.describeLogDirs({ topics: [{ name: topic, partitions: [0] }] });
    const found = dirs.results.flatMap((dir) => dir.topics).find((t) => t.name === topic);
    expect(found?.partitions[0]).toMatchObject({ partitionIndex: 0, isFutureKey: false });
    expect(Number(found?.partitions[0].partitionSize)).toBeGreaterThan(0);
  });

  test("groups are listed, described, moved, emptied and deleted", async () => {
    const [topic, group] = [await topicOf("grouped", 2), fresh("group")];
    await producer().send({ messages: messages(topic, "g", 50), acks: -1 });
    const reading = await read(consumer(group), topic, { autocommit: 100 });
    await expect.poll(() => reading.records.length, patiently).toBe(50);
    const listed = async (...states: ("STABLE" | "EMPTY")[]): Promise<string[]> => [
      ...(await admin.listGroups({ states })).keys(),
    ];
    expect(await listed("STABLE")).toContain(group);
    expect(await listed("EMPTY")).not.toContain(group);
    const [coordinator] = await admin.findCoordinator({
      keyType: FindCoordinatorKeyTypes.GROUP,
      keys: [group],
    });
    expect(coordinator).toMatchObject({ key: group, nodeId: 1, host: "127.0.0.1" });
    const described = (await admin.describeGroups({ groups: [group] })).get(group);
    expect(described).toMatchObject({
      state: "Stable",
      protocolType: "consumer",
      protocol: "roundrobin",
    });
    const [member] = described?.members.values() ?? [];
    expect(member.clientId).toBe("test");
    expect(member.assignments?.get(topic)).toEqual({ topic, partitions: [0, 1] });

    const offsets = async (): Promise<bigint[]> => {
      const [told] = await admin.listConsumerGroupOffsets({ groups: [group] });
      return told.topics
        .flatMap((t) => t.partitions)
        .sort((a, b) => a.partitionIndex - b.partitionIndex)
        .map((p) => p.committedOffset);
    };
    await expect
      .poll(async () => (await offsets()).reduce((a, b) => a + b, 0n), patiently)
      .toBe(50n);
    expect(await failure(admin.deleteGroups({ groups: [group] }))).toBe("NON_EMPTY_GROUP");
    await reading.member.close(true);
    await expect.poll(() => listed("EMPTY"), patiently).toContain(group);
    const partitionOffsets = [{ partition: 1, offset: 7n }];
    const topics = [{ name: topic, partitionOffsets }];
    await admin.alterConsumerGroupOffsets({ groupId: group, topics });
    expect((await offsets())[1]).toBe(7n);
    const forgotten = [{ name: topic, partitionIndexes: [1] }];
    await admin.deleteConsumerGroupOffsets({ groupId: group, topics: forgotten });
    expect(await offsets()).toHaveLength(1);
    await admin.deleteGroups({ groups: [group] });
    expect(await listed()).not.toContain(group);
    expect(await failure(admin.deleteGroups({ groups: [group] }))).toBe("GROUP_ID_NOT_FOUND");
  });

  test("members are put out of their group", async () => {
    const [topic, group] = [await topicOf("out", 1), fresh("group")];
    const member = consumer(group);
    await read(member, topic);
    const before = member.memberId;
    await admin.removeMembersFromConsumerGroup({ groupId: group, members: null });
    await expect.poll(() => member.memberId !== before && member.memberId, patiently).toBeTruthy();
  });
});
