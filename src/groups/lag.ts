/** How far a group is behind: in records, and in time. */
import type { LogPort } from "../log/client.ts";
import { firstFrom } from "../log/offset-for-time.ts";
import type { LogReader } from "../log/reader.ts";
import type { PartitionState } from "../log/types.ts";
import { MilepostError } from "../model/errors.ts";
import type { CommittedOffset } from "./admin.ts";

export type OffsetLag = {
  topic: string;
  partition: number;
  committed: number;
  /** The high watermark. */
  end: number;
  lag: number;
  /** Age of the oldest record that is not committed; null: its time cannot be told. */
  lagSeconds: number | null;
};

/** Partitions that are looked at together; their records may lie on a cold disk. */
const atOnce = 16;

export class LagReader {
  readonly #log: LogPort;
  readonly #reader: LogReader;
  readonly #now: () => number;

  constructor(log: LogPort, reader: LogReader, now: () => number) {
    this.#log = log;
    this.#reader = reader;
    this.#now = now;
  }

  /** By topic and partition; what was committed of topics that are gone is left out. */
  async read(offsets: CommittedOffset[]): Promise<OffsetLag[]> {
    const bounds = await boundsOf(this.#log, new Set(offsets.map(({ topic }) => topic)));
    const sorted = offsets.toSorted((a, b) =>
      a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1,
    );
    const lags: OffsetLag[] = [];
    for (let i = 0; i < sorted.length; i += atOnce) {
      const some = sorted.slice(i, i + atOnce).flatMap((offset) => {
        const state = bounds.get(offset.topic)?.[offset.partition];
        return state === undefined ? [] : [this.#one(offset, state)];
      });
      lags.push(...(await Promise.all(some)));
    }
    return lags;
  }

  async #one(
    { topic, partition, committed }: CommittedOffset,
    { start, highWatermark: end }: PartitionState,
  ): Promise<OffsetLag> {
    const lag = Math.max(0, end - committed);
    const oldest = Math.max(start, committed);
    if (oldest >= end) return { topic, partition, committed, end, lag, lagSeconds: 0 };
    const timestamp = await timeFrom(this.#reader, topic, partition, oldest, end);
    const lagSeconds = timestamp === null ? null : secondsSince(timestamp, this.#now());
    return { topic, partition, committed, end, lag, lagSeconds };
  }
}

/** ms, of the first record there; now and later when there is none, null when it is not known. */
export async function timeFrom(
  reader: LogReader,
  topic: string,
  partition: number,
  offset: number,
  end: number,
): Promise<number | null> {
  try {
    const record = await firstFrom(reader, topic, partition, offset, end);
    if (record === null) return Infinity;
    return record.timestamp < 0 ? null : record.timestamp;
  } catch (error) {
    // damaged bytes must not hide how the other partitions stand
    if (error instanceof MilepostError) return null;
    throw error;
  }
}

export const secondsSince = (timestamp: number, nowMs: number): number =>
  Math.max(0, nowMs - timestamp) / 1000;

/** State of each partition, by topic; topics that are not there are left out. */
export async function boundsOf(
  log: LogPort,
  topics: Iterable<string>,
): Promise<Map<string, PartitionState[]>> {
  const known = [...topics].filter((topic) => log.topic(topic) !== null);
  const states = known.map(async (topic): Promise<[string, PartitionState[]]> => {
    return [topic, await log.describe(topic)];
  });
  return new Map(await Promise.all(states));
}
