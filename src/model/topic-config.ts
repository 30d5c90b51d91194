/** The settings and the name of a topic, how they change, and the topics that every node has. */
import { MilepostError } from "./errors.ts";
import { limits } from "./limits.ts";
import { dayMs, gib, listItems, mib, type Setting, topicSettings } from "./topic-settings.ts";

/** Characters of a value in an error: what was expected must still follow. */
const VALUE_SHOWN = 100;

export type TopicConfig = Record<string, string>;

/** Throws `invalid_config`, naming the setting, the value and what is allowed. */
function validateSetting(name: string, value: string): void {
  const setting = settingOf(name);
  const fits = typeof value === "string" && value.length <= limits.settingCharsMax;
  if (fits && setting.ok(value)) return;
  const shown = value?.length > VALUE_SHOWN ? `${value.slice(0, VALUE_SHOWN)}…` : value;
  throw new MilepostError("invalid_config", `${name}=${shown}: expected ${setting.expected}`);
}

function settingOf(name: string): Setting {
  if (Object.hasOwn(topicSettings, name)) return topicSettings[name];
  throw new MilepostError("invalid_config", `${name}: there is no such setting`);
}

/** Of a topic as a whole, so that settings also have to fit each other. */
export function validateSettings(config: TopicConfig): void {
  for (const [name, value] of Object.entries(config)) validateSetting(name, value);
  const { minCompactionLagMs, maxCompactionLagMs } = logSettings(effectiveConfig(config));
  if (minCompactionLagMs <= maxCompactionLagMs) return;
  const detail = "min.compaction.lag.ms is more than max.compaction.lag.ms";
  throw new MilepostError("invalid_config", detail);
}

/** `append` and `subtract` are for settings that are lists; null is the default. */
export type SettingChange = string | null | { append: string } | { subtract: string };
export type ConfigChange = Record<string, SettingChange>;

/**
 * The settings of a topic after a change, which are valid. `replace`: what is not in `changes`
 * goes back to its default, but for what Kafka does not know: its clients cannot mean to.
 */
export function changedConfig(
  config: TopicConfig,
  changes: ConfigChange,
  { replace = false }: { replace?: boolean } = {},
): TopicConfig {
  const kept = ([name]: [string, string]): boolean => !replace || name.startsWith("milepost.");
  const changed = new Map(Object.entries(config).filter(kept));
  for (const [name, change] of Object.entries(changes)) {
    const setting = settingOf(name);
    if (change === null) changed.delete(name);
    else if (typeof change === "string") changed.set(name, change);
    else if (setting.type === "list") {
      changed.set(name, changedList(config[name] ?? setting.default, change));
    } else {
      throw new MilepostError("invalid_config", `${name} is not a list`);
    }
  }
  const result = Object.fromEntries(changed);
  validateSettings(result);
  return result;
}

function changedList(value: string, change: { append: string } | { subtract: string }): string {
  const items = listItems(value);
  if ("append" in change) {
    const more = listItems(change.append).filter((item) => !items.includes(item));
    return [...items, ...more].join(",");
  }
  const fewer = listItems(change.subtract);
  return items.filter((item) => !fewer.includes(item)).join(",");
}

/** Every setting with its value, defaults filled in. */
export function effectiveConfig(config: TopicConfig, defaults: TopicConfig = {}): TopicConfig {
  const all: TopicConfig = {};
  for (const name of Object.keys(topicSettings)) {
    all[name] = config[name] ?? defaults[name] ?? topicSettings[name].default;
  }
  return all;
}

/** The settings the log works by, as numbers; -1 stays -1. */
export type LogSettings = {
  compact: boolean;
  delete: boolean;
  retentionMs: number;
  retentionBytes: number;
  segmentMs: number;
  segmentBytes: number;
  maxMessageBytes: number;
  deleteRetentionMs: number;
  minCompactionLagMs: number;
  maxCompactionLagMs: number;
  minCleanableRatio: number;
  flushed: boolean;
  minInsyncReplicas: number;
  /** Sealed slices know the batches of each driver. */
  keyIndex: boolean;
  /** Of what Kafka clients produce. */
  logAppendTime: boolean;
  timestampBeforeMaxMs: number;
  timestampAfterMaxMs: number;
};

export function logSettings(effective: TopicConfig): LogSettings {
  const policies = listItems(effective["cleanup.policy"]);
  return {
    compact: policies.includes("compact"),
    delete: policies.includes("delete"),
    retentionMs: Number(effective["retention.ms"]),
    retentionBytes: Number(effective["retention.bytes"]),
    segmentMs: Number(effective["segment.ms"]),
    // smaller files would cost more than what is in them
    segmentBytes: Math.max(Number(effective["segment.bytes"]), limits.segmentBytesMin),
    maxMessageBytes: Number(effective["max.message.bytes"]),
    deleteRetentionMs: Number(effective["delete.retention.ms"]),
    minCompactionLagMs: Number(effective["min.compaction.lag.ms"]),
    maxCompactionLagMs: Number(effective["max.compaction.lag.ms"]),
    minCleanableRatio: Number(effective["min.cleanable.dirty.ratio"]),
    flushed: effective["milepost.durability"] === "flushed",
    minInsyncReplicas: Number(effective["min.insync.replicas"]),
    keyIndex: effective["milepost.from"] !== "" && effective["milepost.key"] === "driver",
    logAppendTime: effective["message.timestamp.type"] === "LogAppendTime",
    timestampBeforeMaxMs: Number(effective["message.timestamp.before.max.ms"]),
    timestampAfterMaxMs: Number(effective["message.timestamp.after.max.ms"]),
  };
}

export const isTopicName = (name: string): boolean =>
  /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== "." && name !== "..";

/** Kafka's rules. `existing`: a metric cannot tell `a.b` from `a_b`, so only one may live. */
export function validateTopicName(name: string, existing: Iterable<string> = []): void {
  const allowed = "1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..";
  if (!isTopicName(name)) {
    throw new MilepostError("invalid_topic", `${JSON.stringify(name)}: expected ${allowed}`);
  }
  const plain = name.replaceAll(".", "_");
  for (const other of existing) {
    if (other === name || other.length !== name.length) continue;
    if (other.replaceAll(".", "_") === plain) {
      throw new MilepostError(
        "invalid_topic",
        `${name} collides with ${other}: . and _ count as one`,
      );
    }
  }
}

/** Kafka's `num.partitions`: what a topic gets when nobody says how many. */
export const partitionsByDefault = 4;

/** What the node keeps for itself: clients may read it, and change nothing. */
export const isReserved = (topic: string): boolean => topic.startsWith("__");

export type BuiltInTopic = { name: string; partitions: number; config: TopicConfig };

const day = { "retention.ms": String(dayMs) };
const week = { "retention.ms": String(7 * dayMs) };
/** 10 GiB in all: `retention.bytes` counts per partition. */
const positions = { ...day, "retention.bytes": String((10 * gib) / 16) };

/** Small slices: only complete ones are compacted, and they are read whole at a start. */
const compacted = { "cleanup.policy": "compact", "segment.bytes": String(16 * mib) };

export const builtInTopics: readonly BuiltInTopic[] = [
  {
    name: "positions",
    partitions: 16,
    config: { ...positions, "milepost.key": "driver", "milepost.from": "position" },
  },
  {
    name: "positions-by-cell",
    partitions: 16,
    config: { ...positions, "milepost.key": "h3:6", "milepost.from": "position" },
  },
  {
    name: "events",
    partitions: 4,
    config: { ...week, "milepost.key": "driver", "milepost.from": "event" },
  },
  { name: "commands", partitions: 4, config: week },
  { name: "rejects", partitions: 4, config: week },
  { name: "latest", partitions: 4, config: compacted },
  { name: "positions.dlq", partitions: 4, config: week },
  {
    name: "__consumer_offsets",
    partitions: 16,
    // a group is one record with all of its members; a commit is never below flushed
    config: {
      ...compacted,
      "max.message.bytes": String(limits.groupRecordBytesMax),
      "milepost.durability": "flushed",
    },
  },
  { name: "__mqtt", partitions: 16, config: compacted },
];
