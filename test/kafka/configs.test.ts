import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { partitionsByDefault } from "../../src/model/topic-config.ts";
import { topicSettings } from "../../src/model/topic-settings.ts";
import { alterConfigs, incrementalAlterConfigs } from "../../src/wire/apis/alter-configs.ts";
import { describeConfigs } from "../../src/wire/apis/describe-configs.ts";
import { E } from "../../src/wire/errors.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { BROKER, create, newTopic, ownSettings, settingsOf, TOPIC } from "./admin-requests.ts";
import { WireClient } from "./wire-client.ts";

const SET = 0;
const DELETE = 1;
const APPEND = 2;
const SUBTRACT = 3;
const SET_ON_TOPIC = 1;
const SET_ON_NODE = 4;
const BY_DEFAULT = 5;

let gateway: Gateway;
let client: WireClient;

beforeAll(async () => {
  gateway = await startGateway({ args: ["--durability", "logged"] });
  client = await WireClient.open(gateway.ports.kafka);
});
afterAll(async () => {
  client.close();
  await gateway.stop();
});

const made = async (name: string, configs: Record<string, string> = {}): Promise<string> => {
  expect(await create(client, [newTopic(name, { configs })])).toMatchObject([
    { errorCode: E.NONE },
  ]);
  return name;
};

type Change = [name: string, operation: number, value: string | null];
const resource = (topic: string, ...changes: Change[]) => ({
  resourceType: TOPIC,
  resourceName: topic,
  configs: changes.map(([name, configOperation, value]) => ({ name, configOperation, value })),
});
const change = async (
  resources: ReturnType<typeof resource>[],
  { version = 1, validateOnly = false, on = client } = {},
) => (await on.request(incrementalAlterConfigs, version, { resources, validateOnly })).responses;

describe("DescribeConfigs", () => {
  const ask = async (
    resources: { resourceType: number; resourceName: string; configurationKeys: string[] | null }[],
    version = 4,
    more = {},
  ) => {
    const request = { resources, includeSynonyms: false, includeDocumentation: false, ...more };
    return (await client.request(describeConfigs, version, request)).results;
  };
  const all = { configurationKeys: null };

  test.each([0, 1, 2, 3, 4])("version %i has every setting with its value", async (version) => {
    const name = await made(`described-${version}`, { "retention.ms": "77" });
    const [answer] = await ask([{ resourceType: TOPIC, resourceName: name, ...all }], version);
    expect(answer).toMatchObject({ errorCode: E.NONE, resourceType: TOPIC, resourceName: name });
    expect(answer.configs.map((c) => c.name)).toEqual(Object.keys(topicSettings));
    for (const entry of answer.configs) {
      const own = entry.name === "retention.ms";
      const node = entry.name === "milepost.durability";
      const source = own ? SET_ON_TOPIC : node ? SET_ON_NODE : BY_DEFAULT;
      const value = own ? "77" : node ? "logged" : topicSettings[entry.name].default;
      expect(entry).toMatchObject({ value, readOnly: false, isSensitive: false });
      if (version === 0) expect(entry.isDefault).toBe(source === BY_DEFAULT);
      else expect(entry.configSource).toBe(source);
      expect(entry.synonyms).toEqual([]);
      expect(entry.documentation).toBeNull();
      expect(entry.configType > 0).toBe(version >= 3);
    }
  });

  test("synonyms, types and a line of text where they are asked for", async () => {
    await made("rich", { "cleanup.policy": "compact" });
    const entries = await settingsOf(client, "rich");
    expect(entries.get("cleanup.policy")).toMatchObject({
      value: "compact",
      configType: 7,
      documentation: expect.stringContaining("compact"),
      synonyms: [
        { name: "cleanup.policy", value: "compact", source: SET_ON_TOPIC },
        { name: "log.cleanup.policy", value: "delete", source: BY_DEFAULT },
      ],
    });
    const types = ["preallocate", "compression.type", "segment.bytes", "retention.ms"];
    const found = [...types, "min.cleanable.dirty.ratio"].map((n) => entries.get(n)?.configType);
    expect(found).toEqual([1, 2, 3, 5, 6]);
    expect(entries.get("milepost.durability")?.synonyms).toHaveLength(2);
  });

  test("only the keys that are asked for; none is all", async () => {
    const keys = ["retention.ms", "no.such", "cleanup.policy"];
    const some = await settingsOf(client, "rich", keys);
    expect([...some.keys()]).toEqual(["cleanup.policy", "retention.ms"]);
    expect((await settingsOf(client, "rich", [])).size).toBe(Object.keys(topicSettings).length);
  });

  test("a resource that stands twice is answered once, with the keys of both", async () => {
    const rich = { resourceType: TOPIC, resourceName: "rich" };
    const answers = await ask([
      { ...rich, configurationKeys: ["retention.ms"] },
      { ...rich, configurationKeys: ["retention.bytes"] },
    ]);
    expect(answers).toHaveLength(1);
    expect(answers[0].configs.map((c) => c.name)).toEqual(["retention.bytes", "retention.ms"]);
  });

  test("what is not there, each by itself", async () => {
    const answers = await ask([
      { resourceType: TOPIC, resourceName: "nowhere", ...all },
      { resourceType: TOPIC, resourceName: "a b", ...all },
      { resourceType: TOPIC, resourceName: "", ...all },
      { resourceType: BROKER, resourceName: "2", ...all },
      { resourceType: BROKER, resourceName: "x".repeat(30_000), ...all },
      { resourceType: 0, resourceName: "", ...all },
      { resourceType: 8, resourceName: "1", ...all },
      { resourceType: 32, resourceName: "group", ...all },
      { resourceType: -128, resourceName: "1", ...all },
      { resourceType: TOPIC, resourceName: "rich", ...all },
    ]);
    const { INVALID_TOPIC_EXCEPTION: invalid, INVALID_REQUEST: request } = E;
    const expected: number[] = [E.UNKNOWN_TOPIC_OR_PARTITION, invalid, invalid, request, request];
    expected.push(request, request, request, request, E.NONE);
    expect(answers.map((a) => a.errorCode)).toEqual(expected);
    for (const { errorCode, errorMessage, configs } of answers.slice(0, -1)) {
      expect(errorCode).not.toBe(0);
      expect(errorMessage?.length).toBeGreaterThan(10);
      expect(errorMessage?.length).toBeLessThan(600);
      expect(configs).toEqual([]);
    }
  });

  test("the node, as tools look for it", async () => {
    const entries = await settingsOf(client, 1);
    for (const [name, value] of Object.entries({
      "auto.create.topics.enable": "true",
      "default.replication.factor": "1",
      "delete.topic.enable": "true",
      "group.min.session.timeout.ms": "6000",
      "log.retention.hours": "168",
      "log.retention.minutes": "10080",
      "log.retention.ms": "604800000",
      "log.cleanup.policy": "delete",
      "message.max.bytes": "1048588",
      "min.insync.replicas": "1",
      "node.id": "1",
      "num.partitions": String(partitionsByDefault),
      "offsets.retention.minutes": "10080",
      "offsets.topic.num.partitions": "16",
      "advertised.listeners": `PLAINTEXT://127.0.0.1:${gateway.ports.kafka}`,
      "log.dirs": gateway.dataDir,
    })) {
      expect(entries.get(name), name).toMatchObject({ value, readOnly: true, isSensitive: false });
    }
    // kafka-ui reads a version as its leading numbers
    expect(entries.get("inter.broker.protocol.version")?.value).toMatch(/^\d+\.\d+-IV\d+$/);
    const names = [...entries.keys()];
    expect(names).toEqual([...names].sort());
    expect(new Set(names).size).toBe(names.length);
    const [everyNode] = await ask([{ resourceType: BROKER, resourceName: "", ...all }]);
    expect(everyNode).toMatchObject({ errorCode: E.NONE, configs: [] });
  });
});

describe("IncrementalAlterConfigs", () => {
  test.each([0, 1])("version %i sets, deletes, appends and subtracts", async (version) => {
    const name = await made(`changed-${version}`, { "retention.ms": "5", "segment.ms": "6" });
    const ok = { errorCode: E.NONE, errorMessage: null, resourceType: TOPIC, resourceName: name };
    const changes: Change[] = [
      ["retention.ms", SET, "9"],
      ["segment.ms", DELETE, null],
      ["cleanup.policy", APPEND, "compact"],
    ];
    expect(await change([resource(name, ...changes)], { version })).toEqual([ok]);
    const both = { "retention.ms": "9", "cleanup.policy": "delete,compact" };
    expect(await ownSettings(client, name)).toEqual(both);
    const fewer: Change = ["cleanup.policy", SUBTRACT, "delete"];
    expect(await change([resource(name, fewer)], { version })).toEqual([ok]);
    const one = { "retention.ms": "9", "cleanup.policy": "compact" };
    expect(await ownSettings(client, name)).toEqual(one);
  });

  test.each<[string, Change[], number, string]>([
    ["no such setting", [["no.such", SET, "1"]], E.INVALID_CONFIG, "no.such"],
    ["a bad value", [["retention.ms", SET, "-2"]], E.INVALID_CONFIG, "retention.ms=-2"],
    ["no list", [["retention.ms", APPEND, "1"]], E.INVALID_CONFIG, "not a list"],
    ["not an item", [["cleanup.policy", APPEND, "forget"]], E.INVALID_CONFIG, "compact,forget"],
    ["no value", [["retention.ms", SET, null]], E.INVALID_REQUEST, "no value"],
    ["no such operation", [["retention.ms", 4, "1"]], E.INVALID_REQUEST, "no operation 4"],
    ["below them", [["retention.ms", -1, "1"]], E.INVALID_REQUEST, "no operation -1"],
    [
      "a key twice",
      [
        ["flush.ms", SET, "1"],
        ["flush.ms", DELETE, null],
      ],
      E.INVALID_REQUEST,
      "twice",
    ],
    ["a long key", [["k".repeat(30_000), SET, "1"]], E.INVALID_CONFIG, "kkk"],
    ["__proto__", [["__proto__", APPEND, "1"]], E.INVALID_CONFIG, "__proto__"],
  ])("refused: %s; nothing of the resource changes", async (_, changes, code, text) => {
    const bad = resource("rich", ["retention.bytes", SET, "123456"], ...changes);
    const good = resource("changed-0", ["retention.ms", SET, "1234"]);
    const before = await ownSettings(client, "rich");
    const answers = await change([bad, good]);
    expect(answers.map((a) => a.errorCode)).toEqual([code, E.NONE]);
    expect(answers[0].errorMessage).toContain(text);
    expect(answers[0].errorMessage?.length).toBeLessThan(600);
    expect(await ownSettings(client, "rich")).toEqual(before);
    expect(await ownSettings(client, "changed-0")).toMatchObject({ "retention.ms": "1234" });
    await change([resource("changed-0", ["retention.ms", DELETE, null])]);
  });

  test("what is only validated does not change", async () => {
    const before = await ownSettings(client, "rich");
    const good = resource("rich", ["retention.ms", SET, "1"]);
    const bad = resource("changed-0", ["retention.ms", SET, "x"]);
    const answers = await change([good, bad], { validateOnly: true });
    expect(answers.map((a) => a.errorCode)).toEqual([E.NONE, E.INVALID_CONFIG]);
    expect(await ownSettings(client, "rich")).toEqual(before);
  });

  test("resources that cannot be changed", async () => {
    const resources = [
      { ...resource("1", ["num.partitions", SET, "3"]), resourceType: BROKER },
      { ...resource("", ["num.partitions", SET, "3"]), resourceType: BROKER },
      { ...resource("2"), resourceType: BROKER },
      { ...resource("1"), resourceType: 8 },
      resource("nowhere", ["retention.ms", SET, "1"]),
      resource("a b", ["retention.ms", SET, "1"]),
      resource("__mqtt", ["cleanup.policy", SET, "delete"]),
      resource("positions", ["max.message.bytes", SET, "1000"]),
      resource("rich", ["retention.ms", SET, "1"]),
      resource("rich", ["retention.ms", SET, "2"]),
    ];
    const answers = await change(resources);
    expect(answers.map((a) => a.errorCode)).toEqual([
      E.INVALID_REQUEST,
      E.INVALID_REQUEST,
      E.INVALID_REQUEST,
      E.INVALID_REQUEST,
      E.UNKNOWN_TOPIC_OR_PARTITION,
      E.INVALID_TOPIC_EXCEPTION,
      E.TOPIC_AUTHORIZATION_FAILED,
      E.INVALID_CONFIG,
      E.INVALID_REQUEST,
    ]);
    expect(answers[0].errorMessage).toContain("milepost serve");
    expect(await ownSettings(client, "rich")).not.toHaveProperty("retention.ms");
    expect(await ownSettings(client, "__mqtt")).toMatchObject({ "cleanup.policy": "compact" });
  });

  test("changes of many clients to one topic all hold", async () => {
    await made("shared");
    const numbers = Object.entries(topicSettings).filter(([, { type }]) => type === "long");
    const clients = await Promise.all(numbers.map(() => WireClient.open(gateway.ports.kafka)));
    const answers = await Promise.all(
      numbers.map(([name], i) =>
        change([resource("shared", [name, SET, "1000"])], { on: clients[i] }),
      ),
    );
    expect(answers.flat().map((a) => a.errorCode)).toEqual(numbers.map(() => E.NONE));
    const own = Object.fromEntries(numbers.map(([name]) => [name, "1000"]));
    expect(await ownSettings(client, "shared")).toEqual(own);
    for (const c of clients) c.close();
  });

  test("items that many clients append and subtract are all counted", async () => {
    await made("list", { "leader.replication.throttled.replicas": "0:1" });
    const name = "leader.replication.throttled.replicas";
    const clients = await Promise.all(
      [1, 2, 3, 4, 5].map(() => WireClient.open(gateway.ports.kafka)),
    );
    await Promise.all(
      clients.map((on, i) => change([resource("list", [name, APPEND, `${i + 1}:1`])], { on })),
    );
    const now = (await ownSettings(client, "list"))[name]?.split(",").sort();
    expect(now).toEqual(["0:1", "1:1", "2:1", "3:1", "4:1", "5:1"]);
    await Promise.all(
      clients.map((on, i) => change([resource("list", [name, SUBTRACT, `${i}:1`])], { on })),
    );
    expect(await ownSettings(client, "list")).toEqual({ [name]: "5:1" });
    for (const c of clients) c.close();
  });
});

describe("AlterConfigs", () => {
  const replace = async (
    topics: Record<string, Record<string, string | null>>,
    { version = 2, validateOnly = false } = {},
  ) => {
    const resources = Object.entries(topics).map(([resourceName, settings]) => ({
      resourceType: TOPIC,
      resourceName,
      configs: Object.entries(settings).map(([name, value]) => ({ name, value })),
    }));
    return (await client.request(alterConfigs, version, { resources, validateOnly })).responses;
  };

  test.each([0, 1, 2])("version %i replaces all that was set", async (version) => {
    const name = await made(`replaced-${version}`, { "retention.ms": "5", "flush.ms": "6" });
    const settings = { "retention.ms": "7", "segment.ms": "8" };
    const [looked] = await replace({ [name]: settings }, { version, validateOnly: true });
    expect(looked).toMatchObject({ errorCode: E.NONE, resourceType: TOPIC, resourceName: name });
    expect(await ownSettings(client, name)).toEqual({ "retention.ms": "5", "flush.ms": "6" });
    expect(await replace({ [name]: settings }, { version })).toEqual([looked]);
    expect(await ownSettings(client, name)).toEqual(settings);
    await replace({ [name]: {} }, { version });
    expect(await ownSettings(client, name)).toEqual({});
  });

  test("what only this gateway knows stays: pings go on", async () => {
    expect(await replace({ positions: { "retention.ms": "3600000" } })).toMatchObject([
      { errorCode: E.NONE },
    ]);
    const own = {
      "retention.ms": "3600000",
      "milepost.from": "position",
      "milepost.key": "driver",
    };
    expect(await ownSettings(client, "positions")).toEqual(own);
    await replace({ "replaced-0": { "milepost.key": "h3:4" } });
    await replace({ "replaced-0": { "milepost.key": "driver" } });
    expect(await ownSettings(client, "replaced-0")).toEqual({ "milepost.key": "driver" });
  });

  test("each resource by itself", async () => {
    await made("solid", { "retention.ms": "5" });
    const answers = await replace({
      solid: { "retention.ms": null },
      nowhere: {},
      __consumer_offsets: { "cleanup.policy": "delete" },
      "replaced-1": { "retention.ms": "x" },
      "replaced-2": { "retention.ms": "11" },
    });
    expect(answers.map((a) => a.errorCode)).toEqual([
      E.INVALID_REQUEST,
      E.UNKNOWN_TOPIC_OR_PARTITION,
      E.TOPIC_AUTHORIZATION_FAILED,
      E.INVALID_CONFIG,
      E.NONE,
    ]);
    expect(await ownSettings(client, "solid")).toEqual({ "retention.ms": "5" });
    expect(await ownSettings(client, "replaced-2")).toEqual({ "retention.ms": "11" });
  });
});

test("settings outlive a restart", async () => {
  await made("kept", { "message.timestamp.type": "LogAppendTime", "flush.messages": "1" });
  client.close();
  await gateway.end("SIGTERM");
  await gateway.start();
  client = await WireClient.open(gateway.ports.kafka);
  expect(await ownSettings(client, "kept")).toEqual({
    "message.timestamp.type": "LogAppendTime",
    "flush.messages": "1",
  });
});
