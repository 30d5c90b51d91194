/** What all sinks of a gateway are doing, from what their groups committed. */
import {
  Admin,
  Consumer,
  ListOffsetTimestamps,
  offsetFetchV8,
  type BaseOptions,
} from "@platformatic/kafka";
import { endOffset, isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { mapSome } from "../lib/map-some.ts";
import { RawFetch } from "../uplink/raw-fetch.ts";
import { type CommitNote, parseNote } from "./commit-note.ts";

export type PartitionStatus = {
  topic: string;
  partition: number;
  next: number;
  end: number;
  lag: number;
};

export type SinkStatus = {
  group: string;
  workers: number;
  rowsPerSecond: number;
  /** Records, and the age of the oldest of them. */
  lag: number;
  lagSeconds: number;
  /** ms; null: never. */
  lastCommit: number | null;
  deadLettered: number;
  partitions: PartitionStatus[];
};

type Committed = { topic: string; partition: number; next: number; note: CommitNote };

/** A rate that is older says nothing of now; files are published a minute apart. */
const freshMs = 75_000;
/** Of one group, looked at at once for their oldest record. */
const looksAtOnce = 8;
const lookBytes = 64 * 1024;

export async function sinkStatuses(options: BaseOptions, nowMs: number): Promise<SinkStatus[]> {
  const admin = new Admin(options);
  const raw = new RawFetch(options);
  try {
    const names = [...(await admin.listGroups()).keys()].sort();
    const statuses: SinkStatus[] = [];
    for (const group of names) {
      const consumer = new Consumer({ ...options, groupId: "none" });
      consumer.groupId = group;
      try {
        const committed = await notesOf(consumer);
        if (committed.length === 0) continue;
        const described = await admin.describeGroups({ groups: [group] });
        const workers = described.get(group)?.members.size ?? 0;
        statuses.push(await statusOf(consumer, raw, committed, workers, nowMs));
      } finally {
        await consumer.close(true);
      }
    }
    return statuses;
  } finally {
    await raw.close();
    await admin.close();
  }
}

/** Partitions with a sink's note beside their offset: other groups have none. */
async function notesOf(consumer: Consumer): Promise<Committed[]> {
  const id = await consumer.findGroupCoordinator();
  const connection = (await consumer.connectToBrokers([id])).get(id);
  if (connection === undefined) return [];
  const asked = [{ groupId: consumer.groupId, memberEpoch: -1, topics: null }];
  const answer = await offsetFetchV8.api.async(connection, asked, false);
  return answer.groups
    .flatMap(({ topics }) => topics)
    .flatMap(({ name: topic, partitions }) =>
      partitions.flatMap(({ partitionIndex: partition, committedOffset, metadata }) => {
        const note = parseNote(metadata);
        return note === null ? [] : [{ topic, partition, next: Number(committedOffset), note }];
      }),
    );
}

async function statusOf(
  consumer: Consumer,
  raw: RawFetch,
  committed: Committed[],
  workers: number,
  nowMs: number,
): Promise<SinkStatus> {
  const ends = new Map<string, bigint[]>();
  for (const topic of new Set(committed.map((one) => one.topic))) {
    const timestamp = ListOffsetTimestamps.LATEST;
    const offsets = await consumer.listOffsets({ topics: [topic], timestamp });
    ends.set(topic, offsets.get(topic) ?? []);
  }
  const partitions = committed.map(({ topic, partition, next }) => {
    const end = Number(ends.get(topic)?.[partition] ?? next);
    return { topic, partition, next, end, lag: Math.max(0, end - next) };
  });
  const behind = partitions.filter(({ lag }) => lag > 0);
  const times = await mapSome(behind, looksAtOnce, (one) => oldestMs(consumer, raw, one));
  const oldest = Math.min(nowMs, ...times.filter((time) => time !== null));
  const notes = committed.map(({ note }) => note);
  const fresh = notes.filter(({ at }) => workers > 0 && nowMs - at < freshMs);
  const last = Math.max(...notes.map(({ at }) => at));
  return {
    group: consumer.groupId,
    workers,
    rowsPerSecond: round(fresh.reduce((sum, { rowsPerSecond }) => sum + rowsPerSecond, 0)),
    lag: partitions.reduce((sum, { lag }) => sum + lag, 0),
    lagSeconds: round((nowMs - oldest) / 1000),
    lastCommit: last === 0 ? null : last,
    deadLettered: notes.reduce((sum, { deadLettered }) => sum + deadLettered, 0),
    partitions,
  };
}

/** When the first record that is not written was received. */
async function oldestMs(
  consumer: Consumer,
  raw: RawFetch,
  { topic, partition, next }: PartitionStatus,
): Promise<number | null> {
  const { topics, brokers } = await consumer.metadata({ topics: [topic] });
  const broker = brokers.get(topics.get(topic)?.partitions[partition]?.leader ?? -1);
  if (broker === undefined) return null;
  const bounds = { waitMs: 0, bytesMin: 1, bytesMax: lookBytes, partitionBytesMax: lookBytes };
  const wanted = [{ topic, partitions: [{ partition, offset: next }] }];
  const [fetched] = await raw.fetch(broker, { ...bounds, topics: wanted });
  const batch = fetched?.batches.find((bytes) => !isControl(bytes) && endOffset(bytes) > next);
  if (batch === undefined) return null;
  const cursor = new RecordCursor();
  cursor.open(batch);
  while (cursor.next()) if (cursor.offset >= next) return cursor.timestamp;
  return null;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
