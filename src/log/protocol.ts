/**
 * Messages between the log thread and the others.
 *
 * A producer port (one a worker) carries slabs: the worker sends each slab's memory once, then
 * numbers; the log thread answers each number with the same number once its batches are in the log
 * or refused. A client port carries requests, answers and news.
 */
import type { MessagePort } from "node:worker_threads";
import type { ErrorCode } from "../model/errors.ts";
import type { ConfigChange, TopicConfig } from "../model/topic-config.ts";
import type { MetricSnapshot } from "../metrics/registry.ts";
import type { BatchTime } from "./batch-times.ts";
import type { Located, ReadAt } from "./located.ts";
import type { MirroredTo } from "./mirror-waits.ts";
import type { ProducerStanding } from "./producers.ts";
import type { RecoveryReport } from "./recovery.ts";
import type { Durability, PartitionState, TopicInfo } from "./types.ts";

/** `index` names the topic in slabs; it is never given twice by one log thread. */
export type IndexedTopic = TopicInfo & { index: number };

/**
 * `id` names this log for good; `epoch` is the leader epoch of this start; `defaults` are settings
 * of topics that do not set them.
 */
export type LogNode = { id: string; epoch: number; defaults: TopicConfig };

/** `validateOnly`: everything is looked at, and nothing changes. */
export type TopicOptions = { validateOnly?: boolean };

export type LogThreadOptions = {
  dir: string;
  diskMin: number | null;
  /** Level of topics that do not set `milepost.durability`. */
  durability: Durability;
  /** The topics live in a cluster; `mirrored`: an answer waits until they do. Null: they do not. */
  uplink: { mirrored: boolean } | null;
  now: number;
};

export type ToLogThread = { producer: MessagePort } | { client: MessagePort } | { stop: true };

export type FromLogThread = { ready: RecoveryReport } | { line: string } | { stopped: true };

/** Of one partition; its batches are `[from, to)` of the bytes that come with the news. */
export type CommittedRow = [
  topic: string,
  partition: number,
  highWatermark: number,
  from: number,
  to: number,
];
export type CommitNews = { committed: CommittedRow[]; bytes: Uint8Array | null };

/** Where a batch is to go, and how many of the bytes are its own. */
export type BatchPlace = { topic: string; partition: number; length: number };

/** What became of a batch. `logStart` is -1 where there is no such partition. */
export type Appended = { baseOffset: number; error: ErrorCode | null; logStart: number };

/** What a client may ask: name → [arguments, answer]. */
export type LogRequests = {
  /** The bytes of all batches, one behind the other; `keyed`: their keys were looked at. */
  append: [[places: BatchPlace[], bytes: Uint8Array, keyed: boolean], Appended[]];
  read: [
    [topic: string, partition: number, offset: number, maxBytes: number],
    { batches: Uint8Array[]; highWatermark: number; start: number },
  ];
  locate: [[reads: ReadAt[], maxBytesAll: number], Located[]];
  /** By the headers of batches: see `offset-for-time.ts`. */
  firstBatchSince: [
    [topic: string, partition: number, timestamp: number, from: number],
    number | null,
  ];
  newestBatch: [[topic: string, partition: number, except: number[]], BatchTime | null];
  /** `startEpoch` is -1 when nothing was ever appended. */
  bounds: [
    [topic: string, partition: number],
    { start: number; startEpoch: number; highWatermark: number },
  ];
  /** Where the records up to a leader epoch end, and the epoch of the last of them. */
  endOfEpoch: [
    [topic: string, partition: number, epoch: number],
    { epoch: number; offset: number } | null,
  ];
  describe: [[topic: string], PartitionState[]];
  effectiveConfig: [[topic: string], Record<string, string>];
  createTopic: [
    [name: string, partitions: number, config: TopicConfig, options?: TopicOptions],
    TopicInfo | null,
  ];
  /** `replace`: what is not in `changes` returns to its default. */
  alterTopic: [
    [name: string, changes: ConfigChange, options?: TopicOptions & { replace?: boolean }],
    void,
  ];
  addPartitions: [[name: string, total: number, options?: TopicOptions], void];
  /** Only the topic of this id, where one is given. */
  deleteTopic: [[name: string, id?: string], void];
  deleteRecords: [[name: string, partition: number, before: number], number];
  /** The offsets skipped, `to` not among them; null: nothing is damaged. */
  skipDamage: [[name: string, partition: number], { from: number; to: number } | null];
  /** Idempotent producers of a partition, as of the last commit. */
  producers: [[topic: string, partition: number], ProducerStanding[]];
  /** The first of so many ids that were never given before. */
  reserveProducerIds: [[count: number], number];
  metrics: [[], LogMetrics];
  /** From the uplink: what the cluster has, and whether it is there at all. */
  mirrored: [[rows: MirroredTo[], away: boolean], void];
  /**
   * News of its commits. `heard`: also their bytes, when a commit is small and the client keeps up:
   * it counts there the news that it was given.
   */
  listen: [[topic: string, heard: SharedArrayBuffer | null], void];
};
export type LogOp = keyof LogRequests;

export type LogMetrics = {
  partitions: {
    topic: string;
    partition: number;
    start: number;
    end: number;
    highWatermark: number;
  }[];
  topics: { topic: string; bytes: number }[];
  commits: number;
  bytesWritten: number;
  slices: number;
  writable: boolean;
  /** Of the log thread itself. */
  thread: MetricSnapshot[];
};

/** Why the log is not writable where acknowledgements wait for a cluster that is away. */
export const clusterIsAway = "the uplink is away";

export type ToLog = { id: number; op: LogOp; args: unknown[] };
export type FromLog =
  | { id: number; result: unknown }
  | { id: number; error: { code: string; message: string } }
  | { appended: [id: number, Appended[]][] }
  | { topics: IndexedTopic[]; node: LogNode }
  /** `why` not, for people. */
  | { writable: boolean; why: string }
  | { forgotten: string }
  | CommitNews;
