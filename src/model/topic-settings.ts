/**
 * Topic settings under Kafka's names, each with its type, default and rule. Values are strings, as
 * Kafka's API gives and takes them. Some of Kafka's have no meaning in this log: they are taken by
 * Kafka's own rule, kept and given back, because tools set them.
 */
import { limits } from "./limits.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
export const dayMs = 24 * hourMs;
export const mib = 1024 * 1024;
export const gib = 1024 * mib;

export type SettingType = "boolean" | "string" | "int" | "long" | "double" | "list";

export type Setting = {
  readonly type: SettingType;
  readonly default: string;
  /** What is wanted, for the error's text. */
  readonly expected: string;
  ok(value: string): boolean;
  /** The name that a Kafka broker has for the default of its topics. */
  readonly broker: string | null;
  /** What it does, in a line. */
  readonly about: string;
  /** False: it changes nothing here. */
  readonly works: boolean;
};
type Rest = { broker?: string; about: string };

const INT_MAX = 2n ** 31n - 1n;
const LONG_MAX = 2n ** 63n - 1n;
const FOREVER = String(LONG_MAX);
const NO_EFFECT = "Taken because tools set it; changes nothing here.";

function make(setting: Omit<Setting, "broker" | "works">, broker: string | undefined): Setting {
  return { ...setting, broker: broker ?? null, works: setting.about !== NO_EFFECT };
}

function whole(
  type: "int" | "long",
  fallback: number | string,
  min: number,
  { broker, about }: Rest,
  max?: number,
): Setting {
  const above = max === undefined ? `of at least ${min}` : `from ${min} to ${max}`;
  const largest = max === undefined ? (type === "int" ? INT_MAX : LONG_MAX) : BigInt(max);
  const ok = (value: string): boolean =>
    /^-?\d{1,19}$/.test(value) && BigInt(value) >= min && BigInt(value) <= largest;
  const expected = `a whole number ${above}`;
  return make({ type, default: String(fallback), expected, ok, about }, broker);
}

const int = (fallback: number, min: number, rest: Rest, max?: number): Setting =>
  whole("int", fallback, min, rest, max);
const long = (fallback: number | string, min: number, rest: Rest, max?: number): Setting =>
  whole("long", fallback, min, rest, max);

function oneOf(allowed: string[], { broker, about }: Rest): Setting {
  const expected = `one of ${allowed.filter((value) => value !== "").join(", ")}`;
  const ok = (value: string): boolean => allowed.includes(value);
  return make({ type: "string", default: allowed[0], expected, ok, about }, broker);
}

function boolean({ broker, about }: Rest): Setting {
  const ok = (value: string): boolean => /^(true|false)$/i.test(value);
  return make({ type: "boolean", default: "false", expected: "true or false", ok, about }, broker);
}

/** Items of a list value; spaces around a comma are none of theirs. */
export const listItems = (value: string): string[] =>
  value === "" ? [] : value.split(",").map((item) => item.trim());

/** KIP-73: partition:broker, or `*` for all. */
const throttled: Setting = {
  type: "list",
  default: "",
  expected: "*, or pairs of partition:broker with commas",
  ok: (value) => /^(|\*|\d{1,9}:\d{1,9}(\s*,\s*\d{1,9}:\d{1,9})*)$/.test(value.trim()),
  broker: null,
  about: NO_EFFECT,
  works: false,
};

/** -1 means for ever, or without bound. */
export const topicSettings: Readonly<Record<string, Setting>> = {
  "cleanup.policy": {
    type: "list",
    default: "delete",
    expected: "delete, compact, or both with a comma",
    ok: (value) => {
      const items = listItems(value);
      const known = items.every((item) => item === "delete" || item === "compact");
      return known && new Set(items).size === items.length;
    },
    broker: "log.cleanup.policy",
    about: "delete: what is old or too much goes; compact: the newest of each key stays.",
    works: true,
  },
  "compression.gzip.level": {
    ...int(-1, 1, { broker: "compression.gzip.level", about: NO_EFFECT }, 9),
    expected: "-1, or a whole number from 1 to 9",
    ok: (value) => value === "-1" || /^[1-9]$/.test(value),
  },
  "compression.lz4.level": int(9, 1, { broker: "compression.lz4.level", about: NO_EFFECT }, 17),
  "compression.type": oneOf(["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"], {
    broker: "compression.type",
    about: NO_EFFECT,
  }),
  "compression.zstd.level": int(
    3,
    -131_072,
    { broker: "compression.zstd.level", about: NO_EFFECT },
    22,
  ),
  "delete.retention.ms": long(dayMs, 0, {
    broker: "log.cleaner.delete.retention.ms",
    about: "How long compaction keeps a record without a value, which deletes its key.",
  }),
  "file.delete.delay.ms": long(minuteMs, 0, {
    broker: "log.segment.delete.delay.ms",
    about: NO_EFFECT,
  }),
  "flush.messages": long(FOREVER, 1, { broker: "log.flush.interval.messages", about: NO_EFFECT }),
  "flush.ms": long(FOREVER, 0, { broker: "log.flush.interval.ms", about: NO_EFFECT }),
  "follower.replication.throttled.replicas": throttled,
  "index.interval.bytes": int(4096, 0, { broker: "log.index.interval.bytes", about: NO_EFFECT }),
  "leader.replication.throttled.replicas": throttled,
  "local.retention.bytes": long(-2, -2, { broker: "log.local.retention.bytes", about: NO_EFFECT }),
  "local.retention.ms": long(-2, -2, { broker: "log.local.retention.ms", about: NO_EFFECT }),
  "max.compaction.lag.ms": long(FOREVER, 1, {
    broker: "log.cleaner.max.compaction.lag.ms",
    about: "A record older than this is compacted even where little else has changed.",
  }),
  "max.message.bytes": int(
    limits.messageBytesMax,
    0,
    { broker: "message.max.bytes", about: "The largest record batch, as it is sent." },
    limits.kafkaRequestBytesMax,
  ),
  "message.downconversion.enable": { ...boolean({ about: NO_EFFECT }), default: "true" },
  "message.timestamp.after.max.ms": long(hourMs, 0, {
    broker: "log.message.timestamp.after.max.ms",
    about: "How far ahead of this node's clock a Kafka client's record may be.",
  }),
  "message.timestamp.before.max.ms": long(FOREVER, 0, {
    broker: "log.message.timestamp.before.max.ms",
    about: "How far behind this node's clock a Kafka client's record may be.",
  }),
  "message.timestamp.type": oneOf(["CreateTime", "LogAppendTime"], {
    broker: "log.message.timestamp.type",
    about: "Whether a Kafka client's records keep their own time or get that of the append.",
  }),
  "milepost.durability": {
    ...oneOf(["flushed", "logged"], {
      about: "What an acknowledgement means: on disk, or safe from a crash of the process.",
    }),
    expected: "one of logged, flushed",
  },
  "milepost.from": oneOf(["", "position", "event"], {
    about: "What of the devices goes into this topic; empty: nothing.",
  }),
  "milepost.key": {
    type: "string",
    default: "driver",
    expected: "driver, or h3: and a resolution from 0 to 15",
    ok: (value) => /^(driver|h3:([0-9]|1[0-5]))$/.test(value),
    broker: null,
    about: "The key of what devices send: the driver, or the H3 cell of the position.",
    works: true,
  },
  "min.cleanable.dirty.ratio": {
    type: "double",
    default: "0.5",
    expected: "a number from 0 to 1",
    ok: (value) => /^(0|0?\.\d+|1(\.0+)?)$/.test(value),
    broker: "log.cleaner.min.cleanable.ratio",
    about: "How much of a log must be new since the last compaction before the next.",
    works: true,
  },
  "min.compaction.lag.ms": long(0, 0, {
    broker: "log.cleaner.min.compaction.lag.ms",
    about: "A record younger than this is not compacted.",
  }),
  "min.insync.replicas": int(
    1,
    1,
    { broker: "min.insync.replicas", about: "Copies that acks=all asks for." },
    1000,
  ),
  preallocate: boolean({ broker: "log.preallocate", about: NO_EFFECT }),
  "remote.log.copy.disable": boolean({ about: NO_EFFECT }),
  "remote.log.delete.on.disable": boolean({ about: NO_EFFECT }),
  "remote.storage.enable": {
    ...boolean({ about: NO_EFFECT }),
    expected: "false: there is no tiered storage here",
    ok: (value) => /^false$/i.test(value),
  },
  "replication.factor": int(1, 1, { about: NO_EFFECT }, 1000),
  "retention.bytes": long(-1, -1, {
    broker: "log.retention.bytes",
    about: "Above so many bytes a partition, all of a topic's partitions together, the oldest go.",
  }),
  "retention.ms": long(7 * dayMs, -1, {
    broker: "log.retention.ms",
    about: "Records go so long after they were appended.",
  }),
  "segment.bytes": int(gib, 14, {
    broker: "log.segment.bytes",
    about: "Size of the files that records go away with, at least 16 KiB and at most 256 MiB.",
  }),
  "segment.index.bytes": int(10 * mib, 4, { broker: "log.index.size.max.bytes", about: NO_EFFECT }),
  "segment.jitter.ms": long(0, 0, { broker: "log.roll.jitter.ms", about: NO_EFFECT }),
  "segment.ms": long(7 * dayMs, 1, {
    broker: "log.roll.ms",
    about: "The file that is written is followed by the next after so long.",
  }),
  "unclean.leader.election.enable": boolean({
    broker: "unclean.leader.election.enable",
    about: NO_EFFECT,
  }),
};
