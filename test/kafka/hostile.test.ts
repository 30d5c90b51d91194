/**
 * Bytes that no client should send, against a real gateway. A healthy client works beside them all
 * the while: it is to notice nothing. At the end the gateway has not grown, and stops with 0.
 */
import { readFileSync } from "node:fs";
import { zstdCompressSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { setCrc, setU32 } from "../../src/batch/header.ts";
import { ATTRIBUTES, CRC, MAGIC, RECORD_COUNT } from "../../src/batch/layout.ts";
import { handlers } from "../../src/kafka/apis.ts";
import { limits } from "../../src/model/limits.ts";
import type { AnyApi, RequestOf } from "../../src/wire/api.ts";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { describeConfigs } from "../../src/wire/apis/describe-configs.ts";
import { describeGroups } from "../../src/wire/apis/describe-groups.ts";
import { fetch as fetchApi } from "../../src/wire/apis/fetch.ts";
import { joinGroup } from "../../src/wire/apis/join-group.ts";
import { listOffsets } from "../../src/wire/apis/list-offsets.ts";
import { metadata } from "../../src/wire/apis/metadata.ts";
import { offsetCommit } from "../../src/wire/apis/offset-commit.ts";
import { offsetFetch } from "../../src/wire/apis/offset-fetch.ts";
import { offsetForLeaderEpoch } from "../../src/wire/apis/offset-for-leader-epoch.ts";
import { produce } from "../../src/wire/apis/produce.ts";
import { E } from "../../src/wire/errors.ts";
import { withRecords } from "../batch/compress.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { batchOf } from "../log/batches.ts";
import { WireClient } from "./wire-client.ts";

const MIB = 1024 * 1024;
let gateway: Gateway;
let healthy: Healthy;
let rssBefore: number;

/** Writes a record and reads it again, over and over. */
class Healthy {
  rounds = 0;
  failure: unknown = null;
  readonly #client: WireClient;
  #stopped = false;
  #ended: Promise<void> = Promise.resolve();

  constructor(client: WireClient) {
    this.#client = client;
  }

  start(): void {
    this.#ended = this.#run().catch((error) => (this.failure = error));
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const value = `round ${this.rounds}`;
      const offset = await produced(this.#client, batchOf([{ key: "k", value }]));
      const records = await fetched(this.#client, offset);
      if (!records.includes(value)) throw new Error(`${value} is not at ${offset}`);
      this.rounds++;
    }
  }

  /** A round that began after now has ended well. */
  async works(): Promise<void> {
    const wanted = this.rounds + 2;
    while (this.rounds < wanted && this.failure === null) await sleep(1);
    expect(this.failure).toBe(null);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#ended;
    this.#client.close();
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const produceRequest = (records: Uint8Array | null, acks = -1, name = "healthy") => ({
  transactionalId: null,
  acks,
  timeoutMs: 30_000,
  topicData: [{ name, partitionData: [{ index: 0, records }] }],
});

async function produced(client: WireClient, records: Uint8Array): Promise<number> {
  const { responses } = await client.request(produce, 9, produceRequest(records));
  const [{ errorCode, baseOffset }] = responses[0].partitionResponses;
  if (errorCode !== E.NONE) throw new Error(`produce: ${errorCode}`);
  return baseOffset;
}

type FetchRequest = RequestOf<typeof fetchApi>;
type FetchPartition = FetchRequest["topics"][number]["partitions"][number];
const partitionOf = (more: Partial<FetchPartition> = {}): FetchPartition => ({
  partition: 0,
  currentLeaderEpoch: -1,
  fetchOffset: 0,
  lastFetchedEpoch: -1,
  logStartOffset: -1,
  partitionMaxBytes: MIB,
  ...more,
});
const fetchOf = (partitions: FetchPartition[], more: Partial<FetchRequest> = {}): FetchRequest => ({
  clusterId: null,
  replicaId: -1,
  maxWaitMs: 0,
  minBytes: 1,
  maxBytes: 64 * MIB,
  isolationLevel: 0,
  sessionId: 0,
  sessionEpoch: -1,
  topics: [{ topic: "healthy", partitions }],
  forgottenTopicsData: [],
  rackId: "",
  ...more,
});

async function fetched(client: WireClient, fetchOffset: number): Promise<string> {
  const { responses } = await client.request(fetchApi, 12, fetchOf([partitionOf({ fetchOffset })]));
  return Buffer.from(responses[0].partitions[0].records ?? []).toString("latin1");
}

async function closed(client: WireClient): Promise<void> {
  expect(await client.nextFrame()).toBe(null);
}

/** Memory that is the process's own: mapped files are the page cache's. */
const rss = (): number =>
  1024 * Number(/RssAnon:\s*(\d+)/.exec(readFileSync(`/proc/${gateway.pid}/status`, "utf8"))?.[1]);

beforeAll(async () => {
  gateway = await startGateway();
  const client = await WireClient.open(gateway.ports.kafka);
  const topic = { numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] };
  const topics = [
    { ...topic, name: "healthy" },
    { ...topic, name: "bulky" },
  ];
  await client.request(createTopics, 5, { topics, timeoutMs: 1000, validateOnly: false });
  healthy = new Healthy(client);
  healthy.start();
  await healthy.works();
  rssBefore = rss();
});

afterAll(() => gateway.kill());

async function open(): Promise<WireClient> {
  return WireClient.open(gateway.ports.kafka, "x");
}

// --- frames -----------------------------------------------------------------------------------

type Bytes = number[];
const u8 = (...bytes: number[]): Bytes => bytes;
const i16 = (n: number): Bytes => [(n >> 8) & 0xff, n & 0xff];
const i32 = (n: number): Bytes => [n >>> 24, (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff];
const text = (s: string): Bytes => [...Buffer.from(s, "latin1")];
const sized = (...parts: Bytes[]): Bytes => [...i32(parts.flat().length), ...parts.flat()];
const CORRELATION = i32(7);
const UVARINT_MAX = u8(0xff, 0xff, 0xff, 0xff, 0x0f);
const header = (key: number, version: number): Bytes => [
  ...i16(key),
  ...i16(version),
  ...CORRELATION,
  ...i16(1),
  ...text("x"),
];

const METADATA = 3;
const frames: [what: string, bytes: Bytes][] = [
  ["size -1", i32(-1)],
  ["size of the least number", i32(-0x80000000)],
  ["size 0", i32(0)],
  ["size 7: no header", sized(i16(METADATA), i16(1), u8(0, 0, 0))],
  ["size beyond the limit", i32(limits.kafkaRequestBytesMax + 1)],
  ["size of the largest number", i32(0x7fffffff)],
  ["HTTP", text("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")],
  ["TLS", u8(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3)],
  ["SSH", text("SSH-2.0-OpenSSH_9.6\r\n")],
  ["PROXY", text("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n")],
  ["MQTT", u8(0x10, 0x10, 0, 4, ...text("MQTT"), 4, 2, 0, 60, 0, 4, ...text("test"))],
  ["API -1", sized(header(-1, 0))],
  ["API 4, of brokers among themselves", sized(header(4, 0))],
  ["API 32767", sized(header(32767, 0))],
  ["version -1", sized(header(METADATA, -1))],
  ["version 13, not advertised", sized(header(METADATA, 13))],
  ["a header that ends before the client id", sized(i16(METADATA), i16(1), CORRELATION)],
  ["a client id of -2", sized(i16(METADATA), i16(1), CORRELATION, i16(-2), i32(0))],
  ["a client id beyond the frame", sized(i16(METADATA), i16(1), CORRELATION, i16(9), i32(0))],
  ["a client id of 32767", sized(i16(METADATA), i16(1), CORRELATION, i16(32767), i32(0))],
  ["2^32-1 tagged fields in the header", sized(header(METADATA, 9), UVARINT_MAX)],
  ["a tagged field of 2^32-1 bytes", sized(header(METADATA, 9), u8(1, 0), UVARINT_MAX)],
  ["a number of six bytes", sized(header(METADATA, 9), u8(0x80, 0x80, 0x80, 0x80, 0x80, 0))],
  ["a number of 33 bits", sized(header(METADATA, 9), u8(0xff, 0xff, 0xff, 0xff, 0x1f))],
  ["an array of -2", sized(header(METADATA, 1), i32(-2))],
  ["an array of 2^31-1", sized(header(METADATA, 1), i32(0x7fffffff))],
  ["a compact array of 2^32-2", sized(header(METADATA, 9), u8(0), UVARINT_MAX)],
  ["null where there may be none", sized(header(METADATA, 0), i32(-1))],
  ["a string of -2", sized(header(METADATA, 1), i32(1), i16(-2))],
  ["bytes after the end", sized(header(METADATA, 1), i32(0), u8(0))],
  ["2^32-1 tagged fields at the end", sized(header(METADATA, 9), u8(0, 1, 0, 0, 0), UVARINT_MAX)],
];

test.each(frames)("%s: closes", async (_, bytes) => {
  const client = await open();
  client.raw(Uint8Array.from(bytes));
  await closed(client);
  await healthy.works();
});

test("sizes that are announced and never come cost nothing", async () => {
  const clients = await Promise.all(Array.from({ length: 200 }, open));
  for (const c of clients) c.raw(Uint8Array.from([...i32(limits.kafkaRequestBytesMax), 0, 0]));
  await healthy.works();
  expect(await gateway.metric("milepost_kafka_request_memory_bytes")).toBeLessThan(MIB);
  for (const c of clients) c.close();
});

// --- bodies of every API ----------------------------------------------------------------------

const fill = (length: number, byte: number): Buffer => Buffer.alloc(length, byte);
const bodies: [what: string, bytes: Buffer][] = [
  ["nothing", fill(0, 0)],
  ["zeros", fill(400, 0)],
  ["ones", fill(400, 1)],
  ["0x7f", fill(400, 0x7f)],
  ["0x80", fill(400, 0x80)],
  ["0xff", fill(400, 0xff)],
  ["-2 and so on", Buffer.from("fffe".repeat(100), "hex")],
];
const messages = [...handlers.values()].flatMap(({ api }) =>
  Array.from({ length: api.versions.to - api.versions.from + 1 }, (_, i) => ({
    api: api as AnyApi,
    version: api.versions.from + i,
  })),
);

test.each(bodies)("every API with a body of %s is answered or closes", async (_, bytes) => {
  for (const { api, version } of messages) {
    const client = await open();
    client.send(api, version, bytes);
    await client.nextFrame();
    client.close();
  }
  await healthy.works();
});

// --- small requests, large answers ------------------------------------------------------------

const many = limits.kafkaItemsMax - 10;
const times = <T>(n: number, item: T): T[] => Array.from({ length: n }, () => item);

async function answerBytes<A extends AnyApi>(api: A, version: number, body: RequestOf<A>) {
  const client = await open();
  client.send(api, version, body);
  const frame = await client.nextFrame();
  client.close();
  await healthy.works();
  if (frame === null) throw new Error("closed");
  return frame.length;
}

describe("the same thing, asked for thousands of times in one request", () => {
  test("a topic's metadata", async () => {
    const topics = times(many, { topicId: "", name: "positions" });
    const flags = {
      allowAutoTopicCreation: false,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    };
    expect(await answerBytes(metadata, 8, { topics, ...flags })).toBeLessThan(10_000);
  });

  test("a partition's records", async () => {
    const client = await open();
    const value = "x".repeat(900_000);
    for (let i = 0; i < 10; i++) {
      const request = produceRequest(batchOf([{ key: "k", value }]), -1, "bulky");
      await client.request(produce, 9, request);
    }
    client.close();
    const request = fetchOf(times(many, partitionOf()));
    request.topics[0].topic = "bulky";
    expect(await answerBytes(fetchApi, 12, request)).toBeLessThan(9 * MIB);
  });

  test("an offset by time", async () => {
    const asked = { partitionIndex: 0, currentLeaderEpoch: -1, timestamp: 1 };
    const topics = [{ name: "bulky", partitions: times(many, asked) }];
    const request = { replicaId: -1, isolationLevel: 0, topics };
    expect(await answerBytes(listOffsets, 7, request)).toBeLessThan(2 * MIB);
  });

  test("the end of an epoch", async () => {
    const asked = { partition: 0, currentLeaderEpoch: -1, leaderEpoch: 1 };
    const topics = [{ topic: "bulky", partitions: times(many, asked) }];
    expect(await answerBytes(offsetForLeaderEpoch, 4, { replicaId: -1, topics })).toBeLessThan(
      2 * MIB,
    );
  });

  test("a topic's settings", async () => {
    const one = { resourceType: 2, resourceName: "positions", configurationKeys: null };
    const request = {
      resources: times(many, one),
      includeSynonyms: true,
      includeDocumentation: true,
    };
    expect(await answerBytes(describeConfigs, 4, request)).toBeLessThan(100_000);
  });

  test("a group, its members, its offsets", async () => {
    const waiting: WireClient[] = [];
    for (let i = 0; i < 20; i++) {
      const client = await open();
      client.send(joinGroup, 3, joinOf("crowd", { metadata: 10_000 }));
      waiting.push(client);
    }
    const partitions = Array.from({ length: 16 }, (_, partitionIndex) => ({
      partitionIndex,
      committedOffset: 1,
      committedLeaderEpoch: -1,
      committedMetadata: "m".repeat(4000),
    }));
    const client = await open();
    const committed = await client.request(offsetCommit, 8, {
      groupId: "commits",
      generationIdOrMemberEpoch: -1,
      memberId: "",
      groupInstanceId: null,
      retentionTimeMs: -1,
      topics: [{ name: "positions", partitions }],
    });
    expect(committed.topics[0].partitions[0].errorCode).toBe(E.NONE);
    client.close();
    const groups = times(many, "crowd");
    const described = { groups, includeAuthorizedOperations: false };
    expect(await answerBytes(describeGroups, 5, described)).toBeLessThan(MIB);
    const one = { groupId: "commits", memberId: null, memberEpoch: -1, topics: null };
    const request = { groupId: "", topics: [], groups: times(many, one), requireStable: false };
    expect(await answerBytes(offsetFetch, 9, request)).toBeLessThan(MIB);
    for (const c of waiting) c.close();
  });
});

function joinOf(groupId: string, { metadata: bytes }: { metadata: number }) {
  return {
    groupId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    memberId: "",
    groupInstanceId: null,
    protocolType: "consumer",
    protocols: [{ name: "range", metadata: Buffer.alloc(bytes, 1) }],
    reason: null,
  };
}

test("topics made by asking for them are limited for a connection", async () => {
  const topics = Array.from({ length: 300 }, (_, i) => ({ topicId: "", name: `made-${i}` }));
  const client = await open();
  const { topics: answers } = await client.request(metadata, 4, {
    topics,
    allowAutoTopicCreation: true,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
  });
  const codes = answers.map(({ errorCode }) => errorCode);
  expect(codes.filter((code) => code === E.NONE)).toHaveLength(100);
  expect(codes.filter((code) => code === E.POLICY_VIOLATION)).toHaveLength(200);
  client.close();
  await healthy.works();
});

// --- batches ----------------------------------------------------------------------------------

const good = (): Uint8Array => batchOf([{ key: "k", value: "v", timestamp: Date.now() }]);
function bad(change: (batch: Uint8Array) => void, seal = true): Uint8Array {
  const batch = good();
  change(batch);
  if (seal) setCrc(batch);
  return batch;
}
const bomb = withRecords(good(), 4, zstdCompressSync(Buffer.alloc(900 * MIB)));

const batches: [what: string, batch: Uint8Array | null, codes: number[]][] = [
  ["null", null, [E.INVALID_RECORD]],
  ["nothing", new Uint8Array(0), [E.INVALID_RECORD]],
  ["half a batch", good().subarray(0, 40), [E.INVALID_RECORD, E.CORRUPT_MESSAGE]],
  ["a length of -1", bad((b) => setU32(b, 8, -1)), [E.CORRUPT_MESSAGE]],
  ["a length beyond it", bad((b) => setU32(b, 8, 1e9)), [E.CORRUPT_MESSAGE, E.INVALID_RECORD]],
  ["a wrong CRC", bad((b) => setU32(b, CRC, 1), false), [E.CORRUPT_MESSAGE]],
  ["magic 1", bad((b) => (b[MAGIC] = 1)), [E.INVALID_RECORD]],
  ["2^31-1 records", bad((b) => setU32(b, RECORD_COUNT, 0x7fffffff)), [E.INVALID_RECORD]],
  ["codec 7", bad((b) => (b[ATTRIBUTES + 1] = 7)), [E.UNSUPPORTED_COMPRESSION_TYPE]],
  // a topic that nobody looks into may keep it
  ["900 MB of zeros in 30 KB", bomb, [E.NONE, E.INVALID_RECORD, E.MESSAGE_TOO_LARGE]],
];

test.each(batches)("a batch: %s", async (_, batch, codes) => {
  const client = await open();
  const request = produceRequest(batch);
  request.topicData[0].partitionData.push({ index: 1, records: good() });
  request.topicData.push({ name: "bulky", partitionData: [{ index: 0, records: good() }] });
  const { responses } = await client.request(produce, 9, request);
  expect(codes).toContain(responses[0].partitionResponses[0].errorCode);
  expect(responses[0].partitionResponses[1].errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);
  expect(responses[1].partitionResponses[0].errorCode).toBe(E.NONE);
  client.close();
  await healthy.works();
});

test("acks=0 with an error closes", async () => {
  const client = await open();
  client.send(produce, 9, produceRequest(good(), 0, "nowhere"));
  await closed(client);
});

// --- clients that do not read, or are many ----------------------------------------------------

test("clients that do not read hold one answer each", async () => {
  const request = fetchOf([partitionOf({ partitionMaxBytes: 64 * MIB })]);
  request.topics[0].topic = "bulky";
  const clients = await Promise.all(Array.from({ length: 10 }, open));
  for (const client of clients) {
    client.socket.pause();
    for (let i = 0; i < 20; i++) client.send(fetchApi, 12, request);
  }
  for (let i = 0; i < 5; i++) await healthy.works();
  const held = await gateway.metric("milepost_kafka_response_memory_bytes");
  expect(held).toBeGreaterThan(0);
  expect(held).toBeLessThanOrEqual(10 * (limits.kafkaFetchBytesMax + 2 * MIB));
  for (const client of clients) client.close();
});

test("two thousand connections that come and go", async () => {
  const before = await gateway.metric("milepost_kafka_connections");
  for (let round = 0; round < 10; round++) {
    const clients = await Promise.all(Array.from({ length: 200 }, open));
    for (const [i, client] of clients.entries()) {
      if (i % 4 === 0) client.raw(Uint8Array.from(frames[i % frames.length][1]));
      if (i % 4 === 1) client.send(joinGroup, 3, joinOf(`g${i}`, { metadata: 10 }));
      if (i % 4 === 2) client.socket.end();
    }
    await healthy.works();
    for (const client of clients) client.socket.resetAndDestroy();
  }
  while ((await gateway.metric("milepost_kafka_connections")) > before) await sleep(20);
});

test("after all that the gateway has not grown, nothing failed, and it stops", async () => {
  await healthy.works();
  // what was held at once, and what the allocator keeps of it
  expect(rss() - rssBefore).toBeLessThan(320 * MIB);
  await healthy.stop();
  expect(await gateway.metric("milepost_kafka_failed_total")).toBe(0);
  expect(await gateway.end("SIGTERM")).toBe(0);
  expect(gateway.stderr()).not.toMatch(/failed:|unhandled/i);
});
