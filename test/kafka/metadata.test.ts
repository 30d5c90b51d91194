import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { builtInTopics, partitionsByDefault } from "../../src/model/topic-config.ts";
import { deleteTopics } from "../../src/wire/apis/delete-topics.ts";
import { describeCluster } from "../../src/wire/apis/describe-cluster.ts";
import { describeLogDirs } from "../../src/wire/apis/describe-log-dirs.ts";
import { metadata } from "../../src/wire/apis/metadata.ts";
import { E } from "../../src/wire/errors.ts";
import { ZERO_UUID } from "../../src/wire/schema.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { ping } from "../listeners/mqtt/bytes.ts";
import { create, lookUp, metadataRequest, newTopic } from "./admin-requests.ts";
import { WireClient } from "./wire-client.ts";

const NOBODY = "11111111-2222-3333-4444-555555555555";
const UNKNOWN_OPERATIONS = -2147483648;
/** What Kafka itself says where it has no authorizer. */
const TOPIC_OPERATIONS = 3576;
const CLUSTER_OPERATIONS = 8096;

let gateway: Gateway;
let client: WireClient;

beforeAll(async () => {
  gateway = await startGateway({ args: ["--regions"] });
  client = await WireClient.open(gateway.ports.kafka);
  await create(client, [newTopic("trips", { numPartitions: 2 })]);
});
afterAll(async () => {
  client.close();
  await gateway.stop();
});

const ask = async (
  topics: Parameters<typeof metadataRequest>[0],
  version = 12,
  more: Parameters<typeof metadataRequest>[1] = {},
) => client.request(metadata, version, metadataRequest(topics, more));

const codes = async (...args: Parameters<typeof ask>) =>
  (await ask(...args)).topics.map(({ name, errorCode }) => [name, errorCode]);

const versions = Array.from({ length: 13 }, (_, version) => version);

describe("Metadata", () => {
  test.each(versions)("version %i", async (version) => {
    const { brokers, controllerId, clusterId, topics } = await ask(["trips"], version);
    const { kafka: port } = gateway.ports;
    expect(brokers).toEqual([{ nodeId: 1, host: "127.0.0.1", port, rack: null }]);
    if (version >= 1) expect(controllerId).toBe(1);
    if (version >= 2) expect(clusterId).toMatch(/^[0-9a-f-]{36}$/);
    expect(topics).toMatchObject([{ name: "trips", errorCode: E.NONE, isInternal: false }]);
    expect(topics[0].topicId === ZERO_UUID).toBe(version < 10);
    const [first] = topics[0].partitions;
    expect(first).toMatchObject({
      partitionIndex: 0,
      leaderId: 1,
      replicaNodes: [1],
      isrNodes: [1],
    });
    if (version >= 7) expect(first.leaderEpoch).toBeGreaterThanOrEqual(0);
    expect(topics[0].partitions).toHaveLength(2);
  });

  test.each(versions)("version %i: every topic", async (version) => {
    const { topics } = await ask(version === 0 ? [] : null, version);
    const names = topics.map((t) => t.name);
    expect(names).toEqual(expect.arrayContaining(builtInTopics.map((t) => t.name)));
    if (version === 0) return;
    expect((await ask([], version)).topics).toEqual([]);
    const internal = topics.filter((t) => t.isInternal).map((t) => t.name);
    expect(internal.sort()).toEqual(["__consumer_offsets", "__mqtt"]);
  });

  test("names no topic can have are told from names no topic has", async () => {
    const long = "x".repeat(250);
    const invalid = E.INVALID_TOPIC_EXCEPTION;
    for (const allowAutoTopicCreation of [true, false]) {
      const asked = ["", "..", "a b", long];
      const expected = asked.map((name) => [name, invalid]);
      expect(await codes(asked, 12, { allowAutoTopicCreation })).toEqual(expected);
    }
    const unknown = E.UNKNOWN_TOPIC_OR_PARTITION;
    expect(await codes(["nowhere", "trips", "a/b"])).toEqual([
      ["nowhere", unknown],
      ["trips", E.NONE],
      ["a/b", invalid],
    ]);
  });

  test("a topic that is asked for is made, where the client allows it", async () => {
    const { topics } = await ask(["made"], 12, { allowAutoTopicCreation: true });
    expect(topics).toMatchObject([{ name: "made", errorCode: E.NONE }]);
    expect(topics[0].partitions).toHaveLength(partitionsByDefault);
    // the clients of old have no choice
    expect((await ask(["made-old"], 1)).topics).toMatchObject([{ errorCode: E.NONE }]);
    expect(await codes(["ma.de", "made-old"], 12, { allowAutoTopicCreation: true })).toEqual([
      ["ma.de", E.NONE],
      ["made-old", E.NONE],
    ]);
    const alike = await codes(["ma_de"], 12, { allowAutoTopicCreation: true });
    expect(alike).toEqual([["ma_de", E.INVALID_TOPIC_EXCEPTION]]);
  });

  test("the node's own names are not made", async () => {
    const asked = ["__transaction_state", "__mine"];
    const expected = asked.map((name) => [name, E.UNKNOWN_TOPIC_OR_PARTITION]);
    expect(await codes(asked, 12, { allowAutoTopicCreation: true })).toEqual(expected);
  });

  test("a topic of the devices that is gone does not come back as another", async () => {
    const request = { topics: [], topicNames: ["positions-by-cell"], timeoutMs: 1 };
    await client.request(deleteTopics, 1, request);
    const unknown = [["positions-by-cell", E.UNKNOWN_TOPIC_OR_PARTITION]];
    const asked = ["positions-by-cell"];
    expect(await codes(asked, 12, { allowAutoTopicCreation: true })).toEqual(unknown);
  });

  test("by id, in version 12 and not before", async () => {
    const { topicId } = await lookUp(client, "trips");
    const { topics } = await ask([{ id: topicId }, { id: NOBODY }, { id: ZERO_UUID }]);
    expect(topics).toMatchObject([
      { name: "trips", topicId, errorCode: E.NONE },
      { name: null, topicId: NOBODY, errorCode: E.UNKNOWN_TOPIC_ID },
      { name: null, topicId: ZERO_UUID, errorCode: E.UNKNOWN_TOPIC_ID },
    ]);
    for (const version of [10, 11]) {
      const early = await ask([{ id: topicId }], version);
      expect(early.topics).toMatchObject([{ topicId, errorCode: E.INVALID_REQUEST }]);
    }
  });

  test("a topic that stands many times is answered once", async () => {
    const { topicId } = await lookUp(client, "trips");
    const many = Array.from({ length: 5000 }, () => ["trips", { id: topicId }]).flat();
    const { topics } = await ask(many);
    expect(topics.map((t) => t.name)).toEqual(["trips", "trips"]);
  });

  test("all topics, as librdkafka 2.16 asks for them: with bytes behind the end", async () => {
    client.send(metadata, 12, Buffer.from([0, 0, 0, 0, 1, 0, 0]));
    const answer = await client.answer(metadata, 12);
    expect(answer?.topics.length).toBe((await ask(null)).topics.length);
  });

  test("what a client may do, where it asks", async () => {
    const wanted = {
      includeClusterAuthorizedOperations: true,
      includeTopicAuthorizedOperations: true,
    };
    for (const version of [8, 9, 10, 11, 12]) {
      const asked = ["trips", "__mqtt"];
      const { topics, clusterAuthorizedOperations } = await ask(asked, version, wanted);
      expect(topics[0].topicAuthorizedOperations).toBe(TOPIC_OPERATIONS);
      // read, describe, describe settings
      expect(topics[1].topicAuthorizedOperations).toBe((1 << 3) | (1 << 8) | (1 << 10));
      const cluster = version <= 10 ? CLUSTER_OPERATIONS : UNKNOWN_OPERATIONS;
      expect(clusterAuthorizedOperations).toBe(cluster);
      const { topics: unasked } = await ask(asked, version);
      expect(unasked[0].topicAuthorizedOperations).toBe(UNKNOWN_OPERATIONS);
    }
  });

  test("ten thousand unknown names make no more topics than a connection may", async () => {
    const other = await WireClient.open(gateway.ports.kafka);
    const before = (await ask(null)).topics.length;
    const names = Array.from({ length: 10_000 }, (_, i) => `flood-${i}`);
    const request = metadataRequest(names, { allowAutoTopicCreation: true });
    const { topics } = await other.request(metadata, 12, request);
    const made = topics.filter((t) => t.errorCode === E.NONE);
    expect(made).toHaveLength(limits.kafkaAutoCreatedPerMinuteMax);
    const refused = topics.filter((t) => t.errorCode === E.POLICY_VIOLATION);
    expect(refused).toHaveLength(10_000 - made.length);
    expect((await ask(null)).topics).toHaveLength(before + made.length);
    // those that are there are answered all the same
    const later = await other.request(metadata, 12, request);
    expect(later.topics.filter((t) => t.errorCode === E.NONE)).toHaveLength(made.length);
    other.close();
  });
});

describe("DescribeCluster", () => {
  test.each([0, 1])("version %i", async (version) => {
    const request = { includeClusterAuthorizedOperations: true, endpointType: 1 };
    const answer = await client.request(describeCluster, version, request);
    const { clusterId, brokers } = await ask([]);
    expect(answer).toMatchObject({ errorCode: E.NONE, errorMessage: null, clusterId });
    expect(answer).toMatchObject({ controllerId: 1, endpointType: 1 });
    expect(answer.brokers.map(({ brokerId, ...rest }) => ({ nodeId: brokerId, ...rest }))).toEqual(
      brokers,
    );
    expect(answer.clusterAuthorizedOperations).toBe(CLUSTER_OPERATIONS);
    const unasked = { ...request, includeClusterAuthorizedOperations: false };
    const { clusterAuthorizedOperations } = await client.request(describeCluster, version, unasked);
    expect(clusterAuthorizedOperations).toBe(UNKNOWN_OPERATIONS);
  });

  test("this port is a broker's", async () => {
    const at = async (endpointType: number) => {
      const request = { includeClusterAuthorizedOperations: true, endpointType };
      return client.request(describeCluster, 1, request);
    };
    expect(await at(2)).toMatchObject({ errorCode: E.MISMATCHED_ENDPOINT_TYPE, brokers: [] });
    expect(await at(9)).toMatchObject({ errorCode: E.UNSUPPORTED_ENDPOINT_TYPE, brokers: [] });
  });
});

describe("DescribeLogDirs", () => {
  const sizes = async (
    topics: { topic: string; partitions: number[] }[] | null,
    version = 4,
  ): Promise<Map<string, number>> => {
    const { results } = await client.request(describeLogDirs, version, { topics });
    expect(results).toHaveLength(1);
    return new Map(
      results[0].topics.flatMap(({ name, partitions }) =>
        partitions.map((p): [string, number] => [`${name}/${p.partitionIndex}`, p.partitionSize]),
      ),
    );
  };

  test.each([1, 2, 3, 4])(
    "version %i: what is on disk, and the room beside it",
    async (version) => {
      const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest`;
      expect((await fetch(url, { method: "POST", body: ping(`v${version}`) })).status).toBe(200);
      const { errorCode, results } = await client.request(describeLogDirs, version, {
        topics: null,
      });
      expect(errorCode).toBe(E.NONE);
      const [dir] = results;
      expect(dir).toMatchObject({ errorCode: E.NONE, logDir: gateway.dataDir });
      const positions = dir.topics.find((t) => t.name === "positions");
      expect(positions?.partitions).toHaveLength(16);
      const bytes = positions?.partitions.reduce((sum, p) => sum + p.partitionSize, 0);
      expect(bytes).toBeGreaterThan(100 * version);
      for (const p of positions?.partitions ?? []) {
        expect(p).toMatchObject({ offsetLag: 0, isFutureKey: false });
      }
      if (version < 4) {
        expect(dir).toMatchObject({ totalBytes: -1, usableBytes: -1 });
      } else {
        expect(dir.usableBytes).toBeGreaterThan(0);
        expect(dir.totalBytes).toBeGreaterThan(dir.usableBytes);
      }
    },
  );

  test("only what is asked for and there", async () => {
    const found = await sizes([
      { topic: "trips", partitions: [1, 7, -1] },
      { topic: "nowhere", partitions: [0] },
      { topic: "events", partitions: [] },
      { topic: "trips", partitions: [1, 1, 0] },
    ]);
    expect([...found.keys()]).toEqual(["trips/0", "trips/1"]);
    expect((await sizes([])).size).toBe(0);
  });
});
