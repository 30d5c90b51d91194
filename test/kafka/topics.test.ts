import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { topicSettings } from "../../src/model/topic-settings.ts";
import { createPartitions } from "../../src/wire/apis/create-partitions.ts";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { deleteTopics } from "../../src/wire/apis/delete-topics.ts";
import { metadata } from "../../src/wire/apis/metadata.ts";
import { E } from "../../src/wire/errors.ts";
import { ZERO_UUID } from "../../src/wire/schema.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { create, lookUp, metadataRequest, newTopic, ownSettings } from "./admin-requests.ts";
import { WireClient } from "./wire-client.ts";

const NOBODY = "11111111-2222-3333-4444-555555555555";
let gateway: Gateway;
let client: WireClient;

beforeAll(async () => {
  gateway = await startGateway();
  client = await WireClient.open(gateway.ports.kafka);
});
afterAll(async () => {
  client.close();
  await gateway.stop();
});

const partitionsOf = async (name: string): Promise<number> =>
  (await lookUp(client, name)).partitions.length;

const to = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe("CreateTopics", () => {
  test.each(to(0, 7))("version %i makes a topic, and says what it made", async (version) => {
    const name = `made-${version}`;
    const configs = { "retention.ms": "5000" };
    const topic = newTopic(name, { numPartitions: 3, replicationFactor: 1, configs });
    const [made] = await create(client, [topic], { version });
    expect(made).toMatchObject({ name, errorCode: E.NONE });
    const found = await lookUp(client, name);
    expect(found.partitions).toHaveLength(3);
    expect(await ownSettings(client, name)).toEqual(configs);
    expect(made.topicId).toBe(version >= 7 ? found.topicId : ZERO_UUID);
    if (version < 5) return;
    expect(made).toMatchObject({ numPartitions: 3, replicationFactor: 1 });
    expect(made.configs?.map((c) => c.name)).toEqual(Object.keys(topicSettings));
    const retention = { name: "retention.ms", value: "5000", configSource: 1, readOnly: false };
    expect(made.configs).toContainEqual({ ...retention, isSensitive: false });
  });

  test("what nobody says is four partitions on the one node", async () => {
    const [made] = await create(client, [newTopic("plain")]);
    expect(made).toMatchObject({ errorCode: E.NONE, numPartitions: 4, replicationFactor: 1 });
    expect(await partitionsOf("plain")).toBe(4);
  });

  const on = (...brokerIds: number[][]) =>
    brokerIds.map((ids, partitionIndex) => ({ partitionIndex, brokerIds: ids }));
  const refusals: [string, Parameters<typeof newTopic>[1], number, string][] = [
    ["a second replica", { replicationFactor: 2 }, E.INVALID_REPLICATION_FACTOR, "one node"],
    ["no replica", { replicationFactor: 0 }, E.INVALID_REPLICATION_FACTOR, "one node"],
    ["no partition", { numPartitions: 0 }, E.INVALID_PARTITIONS, "0"],
    ["fewer than none", { numPartitions: -2 }, E.INVALID_PARTITIONS, "-2"],
    ["2^31-1 partitions", { numPartitions: 0x7fffffff }, E.POLICY_VIOLATION, "8000 partitions"],
    ["another node", { assignments: on([2]) }, E.INVALID_REPLICA_ASSIGNMENT, "[1]"],
    ["the node twice", { assignments: on([1, 1]) }, E.INVALID_REPLICA_ASSIGNMENT, "[1]"],
    ["no node", { assignments: on([]) }, E.INVALID_REPLICA_ASSIGNMENT, "[1]"],
    [
      "a partition left out",
      { assignments: [{ partitionIndex: 1, brokerIds: [1] }] },
      E.INVALID_REPLICA_ASSIGNMENT,
      "from 0 on",
    ],
    [
      "a partition twice",
      { assignments: [...on([1]), ...on([1])] },
      E.INVALID_REPLICA_ASSIGNMENT,
      "from 0 on",
    ],
    ["a count beside", { numPartitions: 1, assignments: on([1]) }, E.INVALID_REQUEST, "-1"],
    ["a factor beside", { replicationFactor: 1, assignments: on([1]) }, E.INVALID_REQUEST, "-1"],
    ["no such setting", { configs: { "no.such": "1" } }, E.INVALID_CONFIG, "no.such"],
    ["a bad value", { configs: { "retention.ms": "soon" } }, E.INVALID_CONFIG, "retention.ms=soon"],
    ["no value", { configs: { "retention.ms": null } }, E.INVALID_CONFIG, "retention.ms"],
    ["__proto__", { configs: JSON.parse('{"__proto__":"1"}') }, E.INVALID_CONFIG, "__proto__"],
    [
      "settings against each other",
      { configs: { "min.compaction.lag.ms": "2", "max.compaction.lag.ms": "1" } },
      E.INVALID_CONFIG,
      "max.compaction.lag.ms",
    ],
    [
      "device batches that do not fit",
      { configs: { "milepost.from": "event", "max.message.bytes": "1000" } },
      E.INVALID_CONFIG,
      "max.message.bytes",
    ],
  ];
  test.each(refusals)("refused: %s; its sibling is made", async (what, more, code, text) => {
    const sibling = newTopic(`beside-${refusals.findIndex(([name]) => name === what)}`);
    const [bad, good] = await create(client, [newTopic("bad", more), sibling]);
    expect(bad).toMatchObject({ name: "bad", errorCode: code, numPartitions: -1 });
    expect(bad.errorMessage).toContain(text);
    expect(good).toMatchObject({ errorCode: E.NONE });
    expect((await lookUp(client, "bad")).errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test.each(["", ".", "..", "a b", "a/b", "ü", "x".repeat(250)])("no name: %j", async (name) => {
    const [refused] = await create(client, [newTopic(name)]);
    expect(refused).toMatchObject({ name, errorCode: E.INVALID_TOPIC_EXCEPTION });
  });

  test("names that are taken, look alike, stand twice or are the node's", async () => {
    await create(client, [newTopic("is_there")]);
    const asked = ["is_there", "is.there", "twin", "twin", "__mine", "__mqtt"].map((n) =>
      newTopic(n),
    );
    const answers = await create(client, asked);
    expect(new Map(answers.map((a) => [a.name, a.errorCode]))).toEqual(
      new Map([
        ["twin", E.INVALID_REQUEST],
        ["is_there", E.TOPIC_ALREADY_EXISTS],
        ["is.there", E.INVALID_TOPIC_EXCEPTION],
        ["__mine", E.TOPIC_AUTHORIZATION_FAILED],
        ["__mqtt", E.TOPIC_ALREADY_EXISTS],
      ]),
    );
    expect(answers).toHaveLength(5);
    expect((await lookUp(client, "twin")).errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("assigned to this node", async () => {
    const [made] = await create(client, [newTopic("assigned", { assignments: on([1], [1]) })]);
    expect(made).toMatchObject({ errorCode: E.NONE, numPartitions: 2 });
    expect(await partitionsOf("assigned")).toBe(2);
  });

  test("what is only validated is not made, and refused for the same reasons", async () => {
    const topics = [
      newTopic("maybe", { numPartitions: 2 }),
      newTopic("positions"),
      newTopic("never", { configs: { "retention.ms": "x" } }),
      newTopic("many", { numPartitions: 8001 }),
    ];
    const answers = await create(client, topics, { validateOnly: true });
    const { INVALID_CONFIG, POLICY_VIOLATION } = E;
    const codes = [E.NONE, E.TOPIC_ALREADY_EXISTS, INVALID_CONFIG, POLICY_VIOLATION];
    expect(answers.map((a) => a.errorCode)).toEqual(codes);
    expect(answers[0]).toMatchObject({ numPartitions: 2, topicId: ZERO_UUID });
    expect((await lookUp(client, "maybe")).errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);
  });

  test("of many clients that make the same topic, one does", async () => {
    const clients = await Promise.all(to(1, 8).map(() => WireClient.open(gateway.ports.kafka)));
    const answers = await Promise.all(clients.map((c) => create(c, [newTopic("race")])));
    const codes = answers.map(([{ errorCode }]) => errorCode).sort((a, b) => a - b);
    expect(codes).toEqual([E.NONE, ...to(2, 8).map(() => E.TOPIC_ALREADY_EXISTS)]);
    for (const c of clients) c.close();
  });

  test("an error says little of a value that is large", async () => {
    const long = "9".repeat(30_000);
    const [refused] = await create(client, [newTopic("long", { configs: { "flush.ms": long } })]);
    expect(refused.errorCode).toBe(E.INVALID_CONFIG);
    expect(refused.errorMessage?.length).toBeLessThan(500);
    const [unknown] = await create(client, [newTopic("long", { configs: { [long]: "1" } })]);
    expect(unknown.errorMessage?.length).toBeLessThan(500);
  });

  test("a request of more items than any node has topics for closes the connection", async () => {
    const other = await WireClient.open(gateway.ports.kafka);
    const topics = to(0, limits.kafkaItemsMax).map((i) => newTopic(`t${i}`));
    other.send(createTopics, 7, { topics, timeoutMs: 1, validateOnly: true });
    expect(await other.nextFrame()).toBeNull();
    expect((await lookUp(client, "plain")).errorCode).toBe(E.NONE);
  });
});

describe("CreatePartitions", () => {
  const grow = async (
    topics: { name: string; count: number; assignments?: { brokerIds: number[] }[] }[],
    { version = 3, validateOnly = false } = {},
  ) => {
    const asked = topics.map((t) => ({ assignments: null, ...t }));
    const request = { topics: asked, timeoutMs: 1000, validateOnly };
    return (await client.request(createPartitions, version, request)).results;
  };

  test.each(to(0, 3))("version %i, and only more than there are", async (version) => {
    const name = `grown-${version}`;
    await create(client, [newTopic(name, { numPartitions: 2 })]);
    const more = [{ name, count: 5 }];
    const [looked] = await grow(more, { version, validateOnly: true });
    expect(looked).toEqual({ name, errorCode: E.NONE, errorMessage: null });
    expect(await partitionsOf(name)).toBe(2);
    expect(await grow(more, { version })).toEqual([looked]);
    expect(await partitionsOf(name)).toBe(5);
    for (const count of [5, 4, 0, -1]) {
      const [refused] = await grow([{ name, count }], { version });
      expect(refused).toMatchObject({ name, errorCode: E.INVALID_PARTITIONS });
      expect(refused.errorMessage).toContain("has 5 partitions");
    }
  });

  test("each topic by itself", async () => {
    await create(client, [newTopic("wide", { numPartitions: 1 })]);
    const answers = await grow([
      { name: "wide", count: 3, assignments: [{ brokerIds: [1] }, { brokerIds: [1] }] },
      { name: "nowhere", count: 2 },
      { name: "plain", count: 0x7fffffff },
      { name: "is_there", count: 5, assignments: [] },
      { name: "assigned", count: 3, assignments: [{ brokerIds: [2] }] },
      { name: "__mqtt", count: 17 },
      { name: "twice", count: 3 },
      { name: "twice", count: 4 },
    ]);
    expect(Object.fromEntries(answers.map((a) => [a.name, a.errorCode]))).toEqual({
      wide: E.NONE,
      nowhere: E.UNKNOWN_TOPIC_OR_PARTITION,
      plain: E.POLICY_VIOLATION,
      is_there: E.INVALID_REPLICA_ASSIGNMENT,
      assigned: E.INVALID_REPLICA_ASSIGNMENT,
      __mqtt: E.TOPIC_AUTHORIZATION_FAILED,
      twice: E.INVALID_REQUEST,
    });
    expect(await partitionsOf("wide")).toBe(3);
    expect(await partitionsOf("__mqtt")).toBe(16);
  });
});

describe("DeleteTopics", () => {
  const remove = async (asked: (string | { id: string })[], version = 6) => {
    const names = asked.filter((topic) => typeof topic === "string");
    const { responses } = await client.request(deleteTopics, version, {
      topics: asked.map((topic) =>
        typeof topic === "string"
          ? { name: topic, topicId: ZERO_UUID }
          : { name: null, topicId: topic.id },
      ),
      topicNames: names,
      timeoutMs: 1000,
    });
    return responses;
  };
  const gone = async (name: string): Promise<void> =>
    expect((await lookUp(client, name)).errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);

  test.each(to(0, 6))("version %i, by name", async (version) => {
    const name = `gone-${version}`;
    await create(client, [newTopic(name)]);
    const { topicId } = await lookUp(client, name);
    const [unknown, done] = await remove(["nowhere", name], version);
    expect(unknown).toMatchObject({ name: "nowhere", errorCode: E.UNKNOWN_TOPIC_OR_PARTITION });
    if (version >= 5) expect(unknown.errorMessage).toContain("no such topic");
    const id = version >= 6 ? topicId : ZERO_UUID;
    expect(done).toEqual({ name, topicId: id, errorCode: E.NONE, errorMessage: null });
    await gone(name);
  });

  test("by id, which a topic made anew does not share", async () => {
    await create(client, [newTopic("again")]);
    const { topicId } = await lookUp(client, "again");
    const done = { name: "again", topicId, errorCode: E.NONE, errorMessage: null };
    expect(await remove([{ id: topicId }])).toEqual([done]);
    await create(client, [newTopic("again")]);
    expect(await remove([{ id: topicId }])).toMatchObject([
      { name: null, topicId, errorCode: E.UNKNOWN_TOPIC_ID },
    ]);
    expect((await lookUp(client, "again")).errorCode).toBe(E.NONE);
  });

  test("the node's own topics stay, by name and by id; device topics may go", async () => {
    const { topicId } = await lookUp(client, "__mqtt");
    const answers = await remove(["__consumer_offsets", { id: topicId }, "positions.dlq"]);
    const denied = E.TOPIC_AUTHORIZATION_FAILED;
    expect(answers.map((a) => a.errorCode)).toEqual([denied, denied, E.NONE]);
    expect(answers[0].errorMessage).toContain("the node's own");
    expect((await lookUp(client, "__mqtt")).errorCode).toBe(E.NONE);
    await gone("positions.dlq");
  });

  test("what stands twice stays: by name, by id, by both", async () => {
    await create(client, [newTopic("keep")]);
    const { topicId } = await lookUp(client, "keep");
    for (const twice of [
      ["keep", "keep"],
      [{ id: topicId }, { id: topicId }],
      ["keep", { id: topicId }],
    ]) {
      expect(await remove(twice)).toMatchObject([{ errorCode: E.INVALID_REQUEST }]);
    }
    expect(await remove([{ id: NOBODY }, { id: NOBODY }])).toMatchObject([
      { errorCode: E.INVALID_REQUEST },
    ]);
    expect((await lookUp(client, "keep")).errorCode).toBe(E.NONE);
  });

  test("a name and an id, or neither", async () => {
    const { topicId } = await lookUp(client, "keep");
    const topics = [
      { name: "keep", topicId },
      { name: null, topicId: ZERO_UUID },
    ];
    const request = { topics, topicNames: [], timeoutMs: 1 };
    const { responses } = await client.request(deleteTopics, 6, request);
    const codes = responses.map((r) => r.errorCode);
    expect(codes).toEqual([E.INVALID_REQUEST, E.INVALID_REQUEST]);
    expect((await lookUp(client, "keep")).errorCode).toBe(E.NONE);
  });
});

test("a node has at most so many partitions, and takes the next once some are gone", async () => {
  const { topics } = await client.request(metadata, 12, metadataRequest(null));
  const taken = topics.reduce((sum, topic) => sum + topic.partitions.length, 0);
  const rest = newTopic("rest", { numPartitions: limits.partitionsMax - taken });
  expect(await create(client, [rest])).toMatchObject([{ errorCode: E.NONE }]);
  const next = [newTopic("next", { numPartitions: 1 })];
  expect(await create(client, next)).toMatchObject([{ errorCode: E.POLICY_VIOLATION }]);
  const request = { topics: [], topicNames: ["rest"], timeoutMs: 1 };
  await client.request(deleteTopics, 1, request);
  expect(await create(client, next)).toMatchObject([{ errorCode: E.NONE }]);
});
