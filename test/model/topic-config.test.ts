import { describe, expect, test } from "vitest";
import {
  builtInTopics,
  effectiveConfig,
  logSettings,
  topicSettings,
  validateSettings,
  validateTopicName,
} from "../../src/model/topic-config.ts";

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
      if (setting.default !== "") expect(setting.ok(setting.default), name).toBe(true);
    }
  });

  test.each([
    ["retention.ms", "-2", "expected a whole number of at least -1"],
    ["retention.ms", "1e3", "expected a whole number"],
    ["segment.bytes", "100", "expected a whole number of at least 16384"],
    ["max.message.bytes", "999999999", "from 1024 to 16777216"],
    ["cleanup.policy", "forget", "expected one of delete, compact"],
    ["milepost.key", "h3:16", "expected driver, or h3:"],
    ["milepost.durability", "replicated", "expected one of logged, flushed"],
    ["min.cleanable.dirty.ratio", "1.5", "expected a number from 0 to 1"],
    ["retention.hours", "1", "there is no such setting"],
    ["__proto__", "1", "there is no such setting"],
  ])("%s=%s is refused", (name, value, text) => {
    expect(() => validateSettings(Object.fromEntries([[name, value]]))).toThrow(text);
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

test("the built-in topics are valid, and positions keeps 10 GiB in all", () => {
  for (const { name, config } of builtInTopics) {
    validateTopicName(name);
    validateSettings(config);
  }
  const positions = builtInTopics.find((t) => t.name === "positions");
  expect(Number(positions?.config["retention.bytes"]) * 16).toBe(10 * 1024 ** 3);
});
