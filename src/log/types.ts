import type { ErrorCode } from "../model/errors.ts";
import type { TopicConfig } from "../model/topic-config.ts";

/** `logged` survives a crash of the process, `flushed` is on this disk. */
export type Durability = "logged" | "flushed";

export type TopicInfo = {
  name: string;
  /** uuid: another one after the topic was deleted and made anew. */
  id: string;
  partitions: number;
  /** How often a start found that something of its end was gone; missing: never. */
  losses?: number;
  /** Only what was set; defaults are not listed. */
  config: TopicConfig;
};

export type PartitionState = {
  partition: number;
  /** First offset that can be read. */
  start: number;
  /** Offset of the next record. */
  end: number;
  highWatermark: number;
  leaderEpoch: number;
  bytes: number;
};

/** One RecordBatch on its way into the log. `baseOffset` and `error` are filled in by `append`. */
export type AppendBatch = {
  topic: string;
  partition: number;
  /** The whole batch; base offset and leader epoch are stamped into it. Not read after `append`. */
  bytes: Uint8Array;
  /** -1 until appended. A duplicate of an idempotent producer gets its first offset. */
  baseOffset: number;
  error: ErrorCode | null;
  /** Every record is known to have a key, or the topic to need none. */
  keyed?: boolean;
};

export type NewRecord = {
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers?: [string, Uint8Array][];
  /** ms; the time of the append when left out. */
  timestamp?: number;
  /** murmur2 of the key when left out. */
  partition?: number;
};

export type LogRecord = {
  partition: number;
  offset: number;
  timestamp: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers: [string, Uint8Array][];
};

/** The log as any thread but the log thread sees it. */
export interface LogClient {
  /** Resolves at the topic's durability; rejects with a MilepostError. */
  append(topic: string, records: NewRecord[]): Promise<{ partition: number; offset: number }[]>;
  /** Committed records from `offset` on, in whole batches of about `maxBytes`. */
  read(
    topic: string,
    partition: number,
    offset: number,
    maxBytes: number,
  ): Promise<{ records: LogRecord[]; next: number; highWatermark: number; start: number }>;
  /** Kept up to date. */
  topics(): TopicInfo[];
  describe(topic: string): Promise<PartitionState[]>;
  onTopics(listener: () => void): void;
  /** Returns what stops the listening. */
  onCommitted(
    topic: string,
    listener: (partition: number, highWatermark: number) => void,
  ): () => void;
}
