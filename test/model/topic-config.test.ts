import { describe, expect, test } from "vitest";
import {
  builtInTopics,
  changedConfig,
  effectiveConfig,
  isReserved,
  logSettings,
  validateSettings,
  validateTopicName,
} from "../../src/model/topic-config.ts";
import { topicSettings } from "../../src/model/topic-settings.ts";

describe("names", () => {
  test.each(["positions", "__mqtt", "a.b-c_D9", "x".repeat(249)])("%s may be", (name) => {
    expect(() => validateTopicName(name)).not.toThrow();
  });
  test.each(["", ".", "..", "a b", "a/b", "ä", "x".repeat(250)])("%j may not be", (name) => {
    expect(() => validateTopicName(name)).toThrow("not a valid topic name");
  });
  test("one of a.b and a_b", () => {
    expect(() => validateTopicName("a.b", ["a_b"])).toThrow("a.b collides with a_b");
    expect(() => validateTopicName("a.b", ["a.b", "a.bc"])).not.toThrow();
  });
});

describe("settings", () => {
  test("every default is allowed by its own rule", () => {
    for (const [name, setting] of Object.entries(topicSettings)) {
      expect(setting.ok(setting.default), name).toBe(true);
    }
  });

  test.each([
    ["retention.ms", "-2", "expected a whole number of at least -1"],
    ["retention.ms", "1e3", "expected a whole number"],
    ["retention.ms", "9223372036854775808", "expected a whole number"],
    ["segment.bytes", "13", "expected a whole number of at least 14"],
    ["segment.bytes", "2147483648", "expected a whole number"],
    ["max.message.bytes", "33554433", "from 0 to 33554432"],
    ["cleanup.policy", "delete,delete", "expected delete, compact, or both"],
    ["compression.gzip.level", "0", "expected -1, or a whole number from 1 to 9"],
    ["compression.type", "brotli", "expected one of producer, uncompressed, gzip"],
    ["follower.replication.throttled.replicas", "0", "expected *, or pairs"],
    ["message.timestamp.type", "Now", "expected one of CreateTime, LogAppendTime"],
    ["preallocate", "yes", "expected true or false"],
    ["remote.storage.enable", "true", "there is no tiered storage here"],
    ["cleanup.policy", "forget", "expected delete, compact, or both"],
    ["milepost.key", "h3:16", "expected driver, or h3:"],
    ["milepost.durability", "replicated", "expected one of logged, flushed"],
    ["min.cleanable.dirty.ratio", ".", "expected a number from 0 to 1"],
    ["min.cleanable.dirty.ratio", "1.5", "expected a number from 0 to 1"],
    ["retention.hours", "1", "there is no such setting"],
    ["__proto__", "1", "there is no such setting"],
  ])("%s=%s is refused", (name, value, text) => {
    expect(() => validateSettings(Object.fromEntries([[name, value]]))).toThrow(text);
  });

  test.each([
    ["retention.ms", "9223372036854775807"],
    ["cleanup.policy", "compact, delete"],
    ["cleanup.policy", ""],
    ["compression.gzip.level", "-1"],
    ["compression.zstd.level", "-131072"],
    ["follower.replication.throttled.replicas", "0:1,1:1"],
    ["leader.replication.throttled.replicas", "*"],
    ["max.message.bytes", "20971520"],
    ["min.cleanable.dirty.ratio", ".01"],
    ["preallocate", "TRUE"],
    ["segment.bytes", "1024"],
  ])("%s=%s is taken", (name, value) => {
    expect(() => validateSettings(Object.fromEntries([[name, value]]))).not.toThrow();
  });

  test("what changes nothing has Kafka's default", () => {
    const idle = Object.entries(topicSettings).filter(([, { works }]) => !works);
    expect(idle.length).toBeGreaterThan(15);
    expect(topicSettings["flush.messages"]).toMatchObject({
      works: false,
      broker: expect.any(String),
    });
    expect(topicSettings["retention.ms"].works).toBe(true);
  });

  test("an error quotes at most so much of what a client sent", () => {
    const config = Object.fromEntries([["x".repeat(100_000), "1"]]);
    const failed = (): void => validateSettings(config);
    expect(failed).toThrow(/^not a valid setting: x{400}…$/);
    const replicas = { "leader.replication.throttled.replicas": "0:1,".repeat(2000) + "0:1" };
    expect(() => validateSettings(replicas)).toThrow(/=(0:1,)+…: expected \*, or pairs/);
  });

  test("the lags of compaction must leave room for each other", () => {
    const lags = { "min.compaction.lag.ms": "1000", "max.compaction.lag.ms": "999" };
    expect(() => validateSettings(lags)).toThrow("more than max.compaction.lag.ms");
    expect(() => validateSettings({ ...lags, "max.compaction.lag.ms": "1000" })).not.toThrow();
  });

  test("own settings win over the node's, these over the defaults", () => {
    const node = { "milepost.durability": "logged" };
    expect(effectiveConfig({}, node)["milepost.durability"]).toBe("logged");
    const own = { "milepost.durability": "flushed", "retention.ms": "-1" };
    const settings = logSettings(effectiveConfig(own, node));
    expect(settings).toMatchObject({
      flushed: true,
      retentionMs: -1,
      compact: false,
      delete: true,
    });
  });
});

describe("changes", () => {
  const config = { "retention.ms": "5", "cleanup.policy": "delete" };

  test("a value, the default, an item more and an item fewer", () => {
    const changes = { "retention.ms": null, "segment.ms": "7" };
    expect(changedConfig(config, changes)).toEqual({
      "cleanup.policy": "delete",
      "segment.ms": "7",
    });
    const both = changedConfig(config, { "cleanup.policy": { append: "compact, delete" } });
    expect(both["cleanup.policy"]).toBe("delete,compact");
    const one = changedConfig(both, { "cleanup.policy": { subtract: "delete" } });
    expect(one["cleanup.policy"]).toBe("compact");
    expect(config["cleanup.policy"]).toBe("delete");
  });

  test("a list that was not set begins as its default", () => {
    expect(changedConfig({}, { "cleanup.policy": { append: "compact" } })).toEqual({
      "cleanup.policy": "delete,compact",
    });
  });

  test("replacing forgets what is not named", () => {
    const own = { ...config, "milepost.from": "event" };
    expect(changedConfig(own, { "segment.ms": "7" }, { replace: true })).toEqual({
      "milepost.from": "event",
      "segment.ms": "7",
    });
  });

  test.each([
    [{ "retention.ms": { append: "1" } }, "retention.ms is not a list"],
    [{ "cleanup.policy": { append: "forget" } }, "expected delete, compact"],
    [{ "no.such": null }, "there is no such setting"],
    [{ "min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8" }, "more than"],
  ])("%j is refused", (changes, text) => {
    expect(() => changedConfig(config, changes)).toThrow(text);
  });
});

test("what begins with __ is the node's own", () => {
  expect(isReserved("__mqtt")).toBe(true);
  expect(isReserved("_schemas")).toBe(false);
});

test("the built-in topics are valid, and positions keeps 10 GiB in all", () => {
  for (const { name, config } of builtInTopics) {
    validateTopicName(name);
    validateSettings(config);
  }
  const positions = builtInTopics.find((t) => t.name === "positions");
  expect(Number(positions?.config["retention.bytes"]) * 16).toBe(10 * 1024 ** 3);
});
