/**
 * Finds batches by their newest timestamp, as the tables of slices have it: what a look-up by time
 * begins with. Times need not ascend. A piece of a table a step, and nothing is kept from one step
 * to the next but offsets and slices, which may go meanwhile.
 */
import type { PartitionLog } from "./partition-log.ts";
import type { Slice } from "./slice.ts";
import type { TopicReader } from "./topic-reader.ts";

/** Where a batch begins, or the log within it, and the newest timestamp in it by its header. */
export type BatchTime = { base: number; timestamp: number };

type Partition = {
  p: number;
  log: PartitionLog;
  /** The topic's own. */
  slices: readonly Slice[];
  reader: TopicReader;
};

/** The first batch that ends at or after `from` and has a timestamp of at least `timestamp`. */
export function* firstBatchSince(
  partition: Partition,
  timestamp: number,
  from: number,
): Generator<void, number | null> {
  const { p, log, reader } = partition;
  let at = Math.max(from, log.start);
  while (at < log.highWatermark) {
    const slice = reader.sliceAt(p, at);
    const end = slice.row.ends[p] ?? 0;
    if (end <= at) return null;
    if (slice.row.maxTimestamps[p] < timestamp) {
      at = end;
      continue;
    }
    let found: number | null = null;
    const scan = scanSlice(partition, slice, at, (base, newest) => {
      if (newest < timestamp) return true;
      found = base;
      return false;
    });
    at = (yield* scan) ?? end;
    if (found !== null) return found;
    at = Math.max(at, log.start);
  }
  return null;
}

/** The first of the batches with the newest timestamp, leaving out those at `except`. */
export function* newestBatch(
  partition: Partition,
  except: readonly number[],
): Generator<void, BatchTime | null> {
  const { p, log, slices } = partition;
  const seen = new Set<Slice>();
  let best = null as BatchTime | null;
  for (;;) {
    let next: Slice | null = null;
    for (const slice of slices) {
      const { ends, maxTimestamps } = slice.row;
      if (seen.has(slice) || (ends[p] ?? 0) <= log.start) continue;
      if (maxTimestamps[p] < (best?.timestamp ?? 0)) continue;
      if (next === null || maxTimestamps[p] > next.row.maxTimestamps[p]) next = slice;
    }
    if (next === null) return best;
    seen.add(next);
    const from = Math.max(log.start, next.row.starts[p] ?? 0);
    yield* scanSlice(partition, next, from, (base, timestamp) => {
      if (timestamp < 0 || except.includes(base)) return true;
      const { timestamp: newest, base: first } = best ?? { timestamp: -1, base: -1 };
      if (timestamp > newest || (timestamp === newest && base < first)) best = { base, timestamp };
      return true;
    });
  }
}

/**
 * Tells the batches of a slice from the one that holds `from` on, but those that an operator has
 * had skipped, until `tell` returns false. Returns where it ended; null: at the slice's end.
 */
function* scanSlice(
  { p, log, slices, reader }: Partition,
  slice: Slice,
  from: number,
  tell: (base: number, newest: number) => boolean,
): Generator<void, number | null> {
  let at = from;
  while (at < (slice.row.ends[p] ?? 0)) {
    if (!slice.prepare()) {
      yield;
      if (!slices.includes(slice)) return at;
      continue;
    }
    const place = reader.place(slice, p, at);
    if (place === null) return null;
    const { index } = place;
    for (let row = place.row; row < index.count; row++) {
      const base = Math.max(index.base[row], log.start);
      at = index.last[row] + 1;
      if (at <= base || reader.skippedTo(p, base) !== null) continue;
      if (!tell(base, index.maxTimestamp[row])) return at;
    }
    yield;
    if (!slices.includes(slice)) return at;
  }
  return null;
}
