/** kafkajs, unchanged, as npm brings it. */
import {
  CompressionTypes,
  ConfigResourceTypes,
  type Admin,
  type Consumer,
  type ConsumerConfig,
  type Producer,
  type ProducerConfig,
} from "kafkajs";
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
import { asRecord, kafkajs } from "./kafkajs.ts";

const patiently = { timeout: 20_000, interval: 20 };
const open: (Producer | Consumer)[] = [];
let broker: Broker;
let admin: Admin;
/** For what fails: kafkajs tries some of it again and again. */
let impatient: Admin;
beforeAll(async () => {
  broker = await startBroker();
  admin = kafkajs(broker.address).admin();
  impatient = kafkajs(broker.address, { retry: { retries: 0 } }).admin();
  await Promise.all([admin.connect(), impatient.connect()]);
});
afterEach(() => Promise.all(open.splice(0).map((client) => client.disconnect())));
afterAll(async () => {
  await Promise.all([admin, impatient].map((client) => client?.disconnect()));
  await broker?.stop();
});

async function topicOf(name: string, numPartitions: number): Promise<string> {
  const topic = fresh(name);
  expect(await admin.createTopics({ topics: [{ topic, numPartitions }] })).toBe(true);
  return topic;
}

async function producer(config: ProducerConfig = {}): Promise<Producer> {
  const made = kafkajs(broker.address).producer(config);
  open.push(made);
  await made.connect();
  return made;
}

async function consumer(groupId: string, config: Partial<ConsumerConfig> = {}): Promise<Consumer> {
  const made = kafkajs(broker.address).consumer({
    groupId,
    maxWaitTimeInMs: 50,
    sessionTimeout: 6000,
    heartbeatInterval: 200,
    ...config,
  });
  open.push(made);
  await made.connect();
  return made;
}

/** A member that keeps what it gets, and knows what it owns. */
type Reading = { member: Consumer; records: ClientRecord[]; owned: number[] | null };

async function read(
  groupId: string,
  topic: string,
  { fromBeginning = true, ...config }: Partial<ConsumerConfig> & { fromBeginning?: boolean } = {},
): Promise<Reading> {
  const member = await consumer(groupId, config);
  const reading: Reading = { member, records: [], owned: null };
  member.on(member.events.GROUP_JOIN, ({ payload }) => {
    reading.owned = payload.memberAssignment[topic] ?? [];
  });
  await member.subscribe({ topic, fromBeginning });
  await member.run({
    eachMessage: async (payload) => void reading.records.push(asRecord(payload)),
  });
  return reading;
}

const values = (records: ClientRecord[]): (string | null)[] => records.map((r) => text(r.value));
const messages = (prefix: string, count: number): { key: string; value: string }[] =>
  Array.from({ length: count }, (_, i) => ({ key: `${prefix}-${i % 7}`, value: `${prefix} ${i}` }));

describe("the producer", () => {
  test.each([-1, 1, 0])("acks %i", async (acks) => {
    const topic = await topicOf("acks", 3);
    const from = await producer();
    const sent = messages("a", 50);
    const told = await from.send({ topic, acks, messages: sent });
    const offsets = told.map(({ partition, errorCode, baseOffset }) => {
      return [partition, errorCode, baseOffset];
    });
    if (acks === 0) expect(offsets).toEqual([]);
    else expect(offsets.map(([, error, base]) => [error, base])).toEqual(told.map(() => [0, "0"]));
    const { records } = await read(fresh("group"), topic);
    await expect.poll(() => records.length, patiently).toBe(50);
    expect(values(records).sort()).toEqual(sent.map((m) => m.value).sort());
    for (const { key, partition } of records) {
      expect(partition).toBe(ownPartition(key as Buffer, 3));
    }
  });

  test("gzip, headers, tombstones, null keys and timestamps", async () => {
    const topic = await topicOf("bytes", 1);
    const from = await producer();
    const odd = Buffer.from([0, 255, 10, 128]);
    await from.send({
      topic,
      compression: CompressionTypes.GZIP,
      messages: [
        { key: odd, value: odd, headers: { a: odd, b: ["1", "2"] }, timestamp: "1700000000123" },
        { key: null, value: "v", timestamp: "1600000000001" },
        { key: "gone", value: null, timestamp: "1700000000124" },
        { key: "", value: "", timestamp: "1700000000125" },
      ],
    });
    const { records } = await read(fresh("group"), topic);
    await expect.poll(() => records.length, patiently).toBe(4);
    const [one, two] = [Buffer.from("1"), Buffer.from("2")];
    const headers = [
      ["a", odd],
      ["b", one],
      ["b", two],
    ];
    expect(records).toMatchObject([
      { offset: 0, timestamp: 1_700_000_000_123, key: odd, value: odd, headers },
      { offset: 1, timestamp: 1_600_000_000_001, key: null, value: Buffer.from("v"), headers: [] },
      { offset: 2, timestamp: 1_700_000_000_124, key: Buffer.from("gone"), value: null },
      { offset: 3, timestamp: 1_700_000_000_125, key: Buffer.alloc(0), value: Buffer.alloc(0) },
    ]);
  });

  test("idempotent: each once, in order, to several topics at once", async () => {
    const topics = [await topicOf("one", 2), await topicOf("two", 2)];
    const from = await producer({ idempotent: true, maxInFlightRequests: 1 });
    for (let round = 0; round < 20; round++) {
      const sent = messages(`r${round}`, 20);
      const topicMessages = topics.map((topic) => ({ topic, messages: sent }));
      await from.sendBatch({ topicMessages });
    }
    for (const topic of topics) {
      const { records } = await read(fresh("group"), topic);
      await expect.poll(() => records.length, patiently).toBe(400);
      for (const partition of [0, 1]) {
        const own = records.filter((r) => r.partition === partition);
        expect(own.map((r) => r.offset)).toEqual(own.map((_, i) => i));
        const expected = Array.from({ length: 20 }, (_, round) => messages(`r${round}`, 20))
          .flat()
          .filter(({ key }) => ownPartition(key, 2) === partition);
        expect(values(own)).toEqual(expected.map((m) => m.value));
      }
    }
  });

  test("a record that is too large is refused, and the producer goes on", async () => {
    const topic = await topicOf("large", 1);
    const from = await producer();
    const large = { topic, messages: [{ value: Buffer.alloc(1_500_000) }] };
    await expect(from.send(large)).rejects.toMatchObject({ type: "MESSAGE_TOO_LARGE" });
    const [told] = await from.send({ topic, messages: [{ value: "small" }] });
    expect(told.baseOffset).toBe("0");
  });

  test.skipIf(isKafka)("a transaction is refused at once", async () => {
    const from = kafkajs(broker.address).producer({
      transactionalId: fresh("txn"),
      idempotent: true,
      maxInFlightRequests: 1,
    });
    open.push(from);
    await from.connect();
    // kafkajs keeps the code and the text of this answer to itself
    await expect(from.transaction()).rejects.toThrow("Failed to find group coordinator");
  });
});

describe("the consumer", () => {
  test("from the beginning, or from now on", async () => {
    const topic = await topicOf("from", 2);
    const from = await producer();
    await from.send({ topic, messages: messages("old", 20) });
    const all = await read(fresh("group"), topic);
    const now = await read(fresh("group"), topic, { fromBeginning: false });
    await expect.poll(() => all.records.length, patiently).toBe(20);
    await expect
      .poll(async () => {
        await from.send({ topic, messages: messages("new", 20) });
        return now.records.length;
      }, patiently)
      .toBeGreaterThan(20);
    expect(values(now.records).filter((value) => value?.startsWith("old"))).toEqual([]);
  });

  test("a group goes on where it committed", async () => {
    const [topic, group] = [await topicOf("resume", 2), fresh("group")];
    const from = await producer();
    await from.send({ topic, messages: messages("one", 30) });
    const first = await read(group, topic);
    await expect.poll(() => first.records.length, patiently).toBe(30);
    await first.member.disconnect();
    await from.send({ topic, messages: messages("two", 30) });
    const second = await read(group, topic);
    await expect.poll(() => second.records.length, patiently).toBe(30);
    expect(values(second.records).sort()).toEqual(
      messages("two", 30)
        .map((m) => m.value)
        .sort(),
    );
  });

  test("eachBatch: watermark, lag, resolved offsets, commits", async () => {
    const [topic, group] = [await topicOf("batches", 1), fresh("group")];
    const from = await producer();
    await from.send({ topic, messages: messages("b", 100) });
    const member = await consumer(group);
    await member.subscribe({ topic, fromBeginning: true });
    const seen: string[] = [];
    let committed = "";
    await member.run({
      eachBatchAutoResolve: false,
      eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, heartbeat }) => {
        expect(batch.highWatermark).toBe("100");
        for (const message of batch.messages.slice(0, 40)) {
          seen.push(message.offset);
          resolveOffset(message.offset);
          committed = String(Number(message.offset) + 1);
        }
        const partitions = [{ partition: 0, offset: committed }];
        await commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
        await heartbeat();
      },
    });
    await expect.poll(() => seen.length, patiently).toBe(100);
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    await expect
      .poll(async () => await admin.fetchOffsets({ groupId: group, topics: [topic] }), patiently)
      .toEqual([{ topic, partitions: [{ partition: 0, offset: "100", metadata: null }] }]);
  });

  test("seek, pause and resume", async () => {
    const topic = await topicOf("seek", 2);
    const from = await producer();
    for (const partition of [0, 1]) {
      const some = messages(`p${partition}`, 50).map((m) => ({ ...m, partition }));
      await from.send({ topic, messages: some });
    }
    const { member, records } = await read(fresh("group"), topic);
    await expect.poll(() => records.length, patiently).toBe(100);
    member.pause([{ topic, partitions: [1] }]);
    member.seek({ topic, partition: 0, offset: "45" });
    member.seek({ topic, partition: 1, offset: "48" });
    await expect.poll(() => records.length, patiently).toBe(105);
    expect(records.slice(100).map((r) => [r.partition, r.offset])).toEqual(
      [45, 46, 47, 48, 49].map((offset) => [0, offset]),
    );
    member.resume([{ topic }]);
    await expect.poll(() => records.length, patiently).toBe(107);
    expect(records.slice(105).map((r) => [r.partition, r.offset])).toEqual([
      [1, 48],
      [1, 49],
    ]);
  });

  test("two members share, one leaves, the other takes all", async () => {
    const [topic, group] = [await topicOf("shared", 4), fresh("group")];
    const from = await producer();
    const [first, second] = await Promise.all([read(group, topic), read(group, topic)]);
    const split = (): number[] => [...(first.owned ?? []), ...(second.owned ?? [])].sort();
    await expect
      .poll(() => [first.owned?.length, second.owned?.length, split()], patiently)
      .toEqual([2, 2, [0, 1, 2, 3]]);
    await from.send({ topic, messages: messages("both", 100) });
    const got = (): number => first.records.length + second.records.length;
    await expect.poll(got, patiently).toBe(100);
    const { groups } = await admin.describeGroups([group]);
    expect(groups[0]).toMatchObject({ state: "Stable", protocolType: "consumer", errorCode: 0 });
    expect(groups[0].members).toHaveLength(2);
    await second.member.disconnect();
    await expect.poll(() => first.owned?.length, patiently).toBe(4);
    await from.send({ topic, messages: messages("after", 100) });
    await expect.poll(got, patiently).toBe(200);
    const sent = [...messages("both", 100), ...messages("after", 100)];
    expect(values([...first.records, ...second.records]).sort()).toEqual(
      sent.map((m) => m.value).sort(),
    );
  });

  test("a topic that is not there", async () => {
    const member = await consumer(fresh("group"), {
      allowAutoTopicCreation: false,
      retry: { retries: 1 },
    });
    await expect(member.subscribe({ topic: fresh("none") })).rejects.toThrow(
      /does not host this topic-partition/,
    );
  });
});

describe("the admin client", () => {
  test("the cluster and its topics", async () => {
    const topic = await topicOf("listed", 3);
    const port = Number(broker.address.split(":")[1]);
    const cluster = await admin.describeCluster();
    expect(cluster.brokers).toEqual([{ nodeId: 1, host: "127.0.0.1", port }]);
    expect(cluster.controller).toBe(1);
    expect(cluster.clusterId).toMatch(/^[\w-]{22,36}$/);
    expect(await admin.listTopics()).toContain(topic);
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    expect(topics[0].partitions.map((p) => p.partitionId).sort()).toEqual([0, 1, 2]);
    expect(topics[0].partitions[0]).toMatchObject({
      partitionErrorCode: 0,
      leader: 1,
      replicas: [1],
      isr: [1],
    });
  });

  test("topics are made, looked at, grown and deleted", async () => {
    const topic = fresh("made");
    const topics = [{ topic, numPartitions: 2, replicationFactor: 1 }];
    const onlyLook = { topics, validateOnly: true, waitForLeaders: false };
    expect(await admin.createTopics(onlyLook)).toBe(true);
    expect(await admin.listTopics()).not.toContain(topic);
    expect(await admin.createTopics({ topics })).toBe(true);
    expect(await admin.createTopics({ topics })).toBe(false);
    const topicPartitions = [{ topic, count: 5 }];
    await admin.createPartitions({ topicPartitions });
    await expect.poll(() => admin.fetchTopicOffsets(topic), patiently).toHaveLength(5);
    await expect(
      admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] }),
    ).rejects.toMatchObject({ type: "INVALID_PARTITIONS" });
    await admin.deleteTopics({ topics: [topic] });
    await expect.poll(() => admin.listTopics(), patiently).not.toContain(topic);
    await expect(impatient.deleteTopics({ topics: [topic] })).rejects.toThrow(
      /does not host this topic-partition/,
    );
    const bad = impatient.createTopics({ topics: [{ topic: "a b" }] });
    await expect(bad).rejects.toMatchObject({
      errors: [expect.objectContaining({ type: "INVALID_TOPIC_EXCEPTION" })],
    });
  });

  test("settings", async () => {
    const topic = await topicOf("settings", 1);
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic };
    const value = async (name: string): Promise<[string, boolean]> => {
      const told = await admin.describeConfigs({ resources: [resource], includeSynonyms: false });
      const found = told.resources[0].configEntries.find((entry) => entry.configName === name);
      return [found?.configValue ?? "", found?.isDefault ?? false];
    };
    expect(await value("cleanup.policy")).toEqual(["delete", true]);
    const alter = (configEntries: { name: string; value: string }[], validateOnly = false) =>
      admin.alterConfigs({ validateOnly, resources: [{ ...resource, configEntries }] });
    await alter([{ name: "retention.ms", value: "7200000" }], true);
    expect((await value("retention.ms"))[1]).toBe(true);
    await alter([{ name: "retention.ms", value: "7200000" }]);
    await expect.poll(() => value("retention.ms"), patiently).toEqual(["7200000", false]);
    const bad = [{ name: "retention.ms", value: "soon" }];
    await expect(alter(bad)).rejects.toMatchObject({ type: "INVALID_CONFIG" });
    const one = await admin.describeConfigs({
      resources: [{ ...resource, configNames: ["retention.ms"] }],
      includeSynonyms: true,
    });
    expect(one.resources[0].configEntries.map((entry) => entry.configName)).toEqual([
      "retention.ms",
    ]);
  });

  test("offsets by end and by time, and records deleted", async () => {
    const topic = await topicOf("offsets", 1);
    const from = await producer();
    const times = [1000, 3000, 2000, 4000].map((ms) => String(1_700_000_000_000 + ms));
    for (const timestamp of times) {
      await from.send({ topic, messages: [{ value: "v", timestamp }] });
    }
    const at = async (ms: number): Promise<string> =>
      (await admin.fetchTopicOffsetsByTimestamp(topic, 1_700_000_000_000 + ms))[0].offset;
    expect([await at(0), await at(1001), await at(3001)]).toEqual(["0", "1", "3"]);
    expect(await at(4001)).toBe("4"); // kafkajs gives the end where there is none
    expect(await admin.fetchTopicOffsets(topic)).toEqual([
      { partition: 0, offset: "4", high: "4", low: "0" },
    ]);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "3" }] });
    expect((await admin.fetchTopicOffsets(topic))[0].low).toBe("3");
    const { records } = await read(fresh("group"), topic);
    await expect.poll(() => records.map((r) => r.offset), patiently).toEqual([3]);
    await expect(
      admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "9" }] }),
    ).rejects.toThrow("Error while deleting records");
    expect((await admin.fetchTopicOffsets(topic))[0].low).toBe("3");
  });

  test("groups: offsets are fetched, set and reset; groups listed and deleted", async () => {
    const [topic, group] = [await topicOf("grouped", 2), fresh("group")];
    const from = await producer();
    const some = [0, 1].flatMap((partition) =>
      messages("g", 10).map((message) => ({ ...message, partition })),
    );
    await from.send({ topic, messages: some });
    const { member, records } = await read(group, topic);
    await expect.poll(() => records.length, patiently).toBe(20);
    const offsets = async (): Promise<string[]> => {
      const [told] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
      return told.partitions.map((p) => p.offset);
    };
    await expect.poll(offsets, patiently).toEqual(["10", "10"]);
    const somewhere = { groupId: group, topic, partitions: [{ partition: 0, offset: "1" }] };
    await expect(impatient.setOffsets(somewhere)).rejects.toThrow(
      /consumer group must have no running instances/i,
    );
    await expect(impatient.deleteGroups([group])).rejects.toMatchObject({
      groups: [expect.objectContaining({ groupId: group, errorCode: 68 })],
    });
    await member.disconnect();
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition: 1, offset: "7" }] });
    expect(await offsets()).toEqual(["10", "7"]);
    await admin.resetOffsets({ groupId: group, topic, earliest: true });
    const resolved = await admin.fetchOffsets({
      groupId: group,
      topics: [topic],
      resolveOffsets: true,
    });
    expect(resolved[0].partitions.map((p) => p.offset)).toEqual(["0", "0"]);
    const { groups } = await admin.listGroups();
    expect(groups).toContainEqual({ groupId: group, protocolType: "consumer" });
    expect((await admin.describeGroups([group])).groups[0].state).toBe("Empty");
    await admin.deleteGroups([group]);
    const after = await admin.listGroups();
    expect(after.groups.map((g) => g.groupId)).not.toContain(group);
    expect((await admin.describeGroups([group])).groups[0].state).toBe("Dead");
  });
});
