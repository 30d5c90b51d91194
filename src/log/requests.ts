/**
 * What clients ask of the log thread, an operation a row, beside `append`, which waits for a
 * commit. An operation that may take long yields on the way: the thread goes on with it in turns
 * with the commits.
 */
import { MilepostError } from "../model/errors.ts";
import { changedConfig } from "../model/topic-config.ts";
import { checkIngest } from "./ingest-topics.ts";
import { type Located, type ReadAt, rowsBytes } from "./located.ts";
import type { BatchPlace, LogOp, LogRequests } from "./protocol.ts";
import type { LogStore } from "./store.ts";
import type { Topic } from "./topic.ts";
import type { AppendBatch } from "./types.ts";

export type Answering<T> = Generator<void, T>;
type Immediate = "append" | "listen" | "metrics" | "mirrored";
type Table = {
  [O in Exclude<LogOp, Immediate>]: (
    store: LogStore,
    args: LogRequests[O][0],
  ) => Answering<LogRequests[O][1]>;
};

/** After these the topics are told anew to everybody. */
export const changing: ReadonlySet<LogOp> = new Set<LogOp>([
  "createTopic",
  "alterTopic",
  "addPartitions",
  "deleteTopic",
]);

/** These may take long, and yield on the way. */
export const lasting: ReadonlySet<LogOp> = new Set<LogOp>([
  "read",
  "firstBatchSince",
  "newestBatch",
  "skipDamage",
]);

/** An operation that is done at once. */
const direct = <O extends Exclude<LogOp, Immediate>>(
  answer: (store: LogStore, args: LogRequests[O][0]) => LogRequests[O][1],
) =>
  // oxlint-disable-next-line require-yield -- nothing to wait for
  function* (store: LogStore, args: LogRequests[O][0]): Answering<LogRequests[O][1]> {
    return answer(store, args);
  };

export const requests: Table = {
  *read(store, args) {
    const [topic, partition, offset] = args;
    while (!store.topic(topic).reader.prepare(partition, offset)) yield;
    return store.read(...args);
  },
  locate: direct<"locate">((store, [reads, maxBytesAll]) => {
    let left = maxBytesAll;
    return reads.map((read) => {
      const located = locate(store, { ...read, maxBytes: Math.min(read.maxBytes, left) });
      left -= rowsBytes(located.slot?.rows ?? null);
      return located;
    });
  }),
  firstBatchSince(store, [name, partition, timestamp, from]) {
    return ofTopic(store, name, ({ reader }) => reader.firstBatchSince(partition, timestamp, from));
  },
  newestBatch(store, [name, partition, except]) {
    return ofTopic(store, name, ({ reader }) => reader.newestBatch(partition, except));
  },
  bounds: direct<"bounds">((store, [topic, partition]) => {
    const log = store.topic(topic).partition(partition);
    const { start, highWatermark } = log;
    return { start, startEpoch: log.epochAt(start), highWatermark };
  }),
  endOfEpoch: direct<"endOfEpoch">((store, [topic, partition, epoch]) =>
    store.topic(topic).partition(partition).endOfEpoch(epoch, store.recovery.epoch),
  ),
  describe: direct<"describe">((store, [topic]) => store.describe(topic)),
  effectiveConfig: direct<"effectiveConfig">((store, [topic]) => store.effectiveConfig(topic)),
  createTopic: direct<"createTopic">((store, [name, partitions, config, options]) => {
    checkIngest(store.topics(), name, config);
    if (!options?.validateOnly) return store.createTopic(name, partitions, config);
    store.checkNewTopic(name, partitions, config);
    return null;
  }),
  alterTopic: direct<"alterTopic">((store, [name, changes, options]) => {
    const changed = changedConfig(store.topic(name).row.config, changes, options);
    checkIngest(store.topics(), name, changed);
    if (!options?.validateOnly) store.alterTopic(name, changes, options);
  }),
  addPartitions: direct<"addPartitions">((store, [name, total, options]) => {
    if (options?.validateOnly) store.checkMorePartitions(name, total);
    else store.addPartitions(name, total);
  }),
  deleteTopic: direct<"deleteTopic">((store, [name, id]) => {
    if (id !== undefined && store.topic(name).row.id !== id) {
      throw new MilepostError("topic_missing", name);
    }
    store.deleteTopic(name);
  }),
  deleteRecords: direct<"deleteRecords">((store, args) => store.deleteRecords(...args)),
  producers: direct<"producers">((store, [topic, partition]) =>
    store.topic(topic).partition(partition).producers.standings(),
  ),
  reserveProducerIds: direct<"reserveProducerIds">((store, [count]) =>
    store.reserveProducerIds(count),
  ),
  *skipDamage(store, [name, partition]) {
    const offset = yield* ofTopic(store, name, ({ reader }) => reader.findDamage(partition));
    return offset === null ? null : store.skipDamage(name, partition, offset);
  },
};

/** Ends when the topic is deleted: a step after that would open files that are being removed. */
function* ofTopic<T>(
  store: LogStore,
  name: string,
  work: (topic: Topic) => Answering<T>,
): Answering<T> {
  const topic = store.topic(name);
  const answering = work(topic);
  for (let step = answering.next(); ; step = answering.next()) {
    if (step.done === true) return step.value;
    yield;
    if (store.topic(name) !== topic) throw new MilepostError("topic_missing", name);
  }
}

export function locate(
  store: LogStore,
  { topic, partition, offset, maxBytes, key }: ReadAt,
): Located {
  let start = -1;
  let highWatermark = -1;
  try {
    ({ start, highWatermark } = store.watermark(topic, partition));
    const slot = store.topic(topic).reader.locate(partition, offset, maxBytes, key);
    return { error: null, detail: "", start, highWatermark, slot };
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    return { error: error.code, detail: error.detail, start, highWatermark, slot: null };
  }
}

/** The batches of an append. */
export function unpack(places: BatchPlace[], bytes: Uint8Array, keyed: boolean): AppendBatch[] {
  let at = 0;
  return places.map(({ topic, partition, length }) => {
    const batch = bytes.subarray(at, (at += length));
    return { topic, partition, bytes: batch, baseOffset: -1, error: null, keyed };
  });
}
