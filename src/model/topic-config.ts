/**
 * Topic settings under Kafka's names: defaults, what is allowed, names of topics, and the topics
 * that every node has. Values are strings, as Kafka's API gives and takes them.
 */
import { MilepostError } from "./errors.ts";
import { limits } from "./limits.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const mib = 1024 * 1024;
const gib = 1024 * mib;

type Setting = {
  default: string;
  /** What is wanted, for the error's text. */
  expected: string;
  ok(value: string): boolean;
};

const whole = (value: string): number => (/^-?\d{1,16}$/.test(value) ? Number(value) : NaN);

function number(fallback: number, min: number, max = Number.MAX_SAFE_INTEGER): Setting {
  const limit = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  return {
    default: String(fallback),
    expected: `a whole number ${limit}`,
    ok: (value) => whole(value) >= min && whole(value) <= max,
  };
}

function oneOf(fallback: string, ...allowed: string[]): Setting {
  return {
    default: fallback,
    expected: `one of ${allowed.join(", ")}`,
    ok: (value) => allowed.includes(value),
  };
}

function fraction(fallback: string): Setting {
  return {
    default: fallback,
    expected: "a number from 0 to 1",
    ok: (value) => /^(0(\.\d+)?|1(\.0+)?)$/.test(value),
  };
}

/** -1 means for ever, or without bound. */
export const topicSettings: Readonly<Record<string, Setting>> = {
  "cleanup.policy": oneOf("delete", "delete", "compact", "compact,delete", "delete,compact"),
  "compression.type": oneOf(
    "producer",
    "producer",
    "uncompressed",
    "gzip",
    "snappy",
    "lz4",
    "zstd",
  ),
  "delete.retention.ms": number(dayMs, 0),
  "max.message.bytes": number(limits.messageBytesMax, 1024, 16 * mib),
  "message.timestamp.type": oneOf("CreateTime", "CreateTime"),
  "milepost.durability": oneOf("flushed", "logged", "flushed"),
  "milepost.from": oneOf("", "position", "event"),
  "milepost.key": {
    default: "driver",
    expected: "driver, or h3: and a resolution from 0 to 15",
    ok: (value) => /^(driver|h3:([0-9]|1[0-5]))$/.test(value),
  },
  "min.cleanable.dirty.ratio": fraction("0.5"),
  "min.compaction.lag.ms": number(0, 0),
  "min.insync.replicas": number(1, 1, 1000),
  "replication.factor": number(1, 1, 1000),
  "retention.bytes": number(-1, -1),
  "retention.ms": number(7 * dayMs, -1),
  "segment.bytes": number(gib, 16 * 1024),
  "segment.ms": number(7 * dayMs, 1),
  "unclean.leader.election.enable": oneOf("false", "true", "false"),
};

/** Throws `invalid_config`, naming the setting, the value and what is allowed. */
export function validateSetting(name: string, value: string): void {
  if (!Object.hasOwn(topicSettings, name)) {
    const known = Object.keys(topicSettings).join(", ");
    throw new MilepostError("invalid_config", `${name}: there is no such setting; use ${known}`);
  }
  const setting = topicSettings[name];
  if (typeof value !== "string" || !setting.ok(value)) {
    throw new MilepostError("invalid_config", `${name}=${value}: expected ${setting.expected}`);
  }
}

export function validateSettings(config: Record<string, string>): void {
  for (const [name, value] of Object.entries(config)) validateSetting(name, value);
}

/** Every setting with its value, defaults filled in. */
export function effectiveConfig(
  config: Record<string, string>,
  defaults: Record<string, string> = {},
): Record<string, string> {
  const all: Record<string, string> = {};
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
  minCleanableRatio: number;
  flushed: boolean;
};

export function logSettings(effective: Record<string, string>): LogSettings {
  const policies = effective["cleanup.policy"].split(",");
  return {
    compact: policies.includes("compact"),
    delete: policies.includes("delete"),
    retentionMs: Number(effective["retention.ms"]),
    retentionBytes: Number(effective["retention.bytes"]),
    segmentMs: Number(effective["segment.ms"]),
    segmentBytes: Number(effective["segment.bytes"]),
    maxMessageBytes: Number(effective["max.message.bytes"]),
    deleteRetentionMs: Number(effective["delete.retention.ms"]),
    minCompactionLagMs: Number(effective["min.compaction.lag.ms"]),
    minCleanableRatio: Number(effective["min.cleanable.dirty.ratio"]),
    flushed: effective["milepost.durability"] === "flushed",
  };
}

/** Kafka's rules. `existing`: a metric cannot tell `a.b` from `a_b`, so only one may live. */
export function validateTopicName(name: string, existing: Iterable<string> = []): void {
  const allowed = "1 to 249 of a-z A-Z 0-9 . _ -, and neither . nor ..";
  if (!/^[a-zA-Z0-9._-]{1,249}$/.test(name) || name === "." || name === "..") {
    throw new MilepostError("invalid_topic", `${JSON.stringify(name)}: expected ${allowed}`);
  }
  const plain = name.replaceAll(".", "_");
  for (const other of existing) {
    if (other !== name && other.replaceAll(".", "_") === plain) {
      throw new MilepostError(
        "invalid_topic",
        `${name} collides with ${other}: . and _ count as one`,
      );
    }
  }
}

export type BuiltInTopic = { name: string; partitions: number; config: Record<string, string> };

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
  { name: "__consumer_offsets", partitions: 16, config: compacted },
  { name: "__mqtt", partitions: 16, config: compacted },
];
