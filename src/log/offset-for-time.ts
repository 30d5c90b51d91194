/**
 * Offsets by time, per record: timestamps are the clients' own and need not ascend. The log thread
 * tells which batch to open; it is read, decompressed and looked through in the thread that asks.
 */
import {
  baseOffset,
  isControl,
  lastOffsetDelta,
  leaderEpoch,
  maxTimestamp,
} from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import type { LogPort } from "./client.ts";
import type { LogReader } from "./reader.ts";

export type TimedOffset = { offset: number; timestamp: number; leaderEpoch: number };

type Batch = { bytes: Uint8Array; start: number };

/** How often what is about to be read may go away. */
const TRIES = 3;

/** The first record, in order of offsets, whose timestamp is at least `timestamp`. */
export async function offsetForTime(
  log: LogPort,
  reader: LogReader,
  topic: string,
  partition: number,
  timestamp: number,
): Promise<TimedOffset | null> {
  let from = 0;
  for (;;) {
    const base = await log.call("firstBatchSince", topic, partition, timestamp, from);
    if (base === null) return null;
    const batch = await readBatch(reader, topic, partition, base);
    if (batch === null) continue;
    for (const record of timesOf(batch)) if (record.timestamp >= timestamp) return record;
    from = baseOffset(batch.bytes) + lastOffsetDelta(batch.bytes) + 1;
  }
}

/** The first of the records with the newest timestamp. */
export async function offsetOfNewest(
  log: LogPort,
  reader: LogReader,
  topic: string,
  partition: number,
): Promise<TimedOffset | null> {
  let best = null as TimedOffset | null;
  // of these the newest record is not there any more
  const known: number[] = [];
  for (;;) {
    const newest = await log.call("newestBatch", topic, partition, known);
    if (newest === null || (best !== null && newest.timestamp < best.timestamp)) return best;
    const batch = await readBatch(reader, topic, partition, newest.base);
    if (batch === null) continue;
    for (const record of timesOf(batch)) if (isBetter(record, best)) best = record;
    if (best !== null && best.timestamp >= newest.timestamp) return best;
    known.push(newest.base);
  }
}

/** The first record from `offset` on, below `end`; null: there is none. */
export async function firstFrom(
  reader: LogReader,
  topic: string,
  partition: number,
  offset: number,
  end: number,
): Promise<TimedOffset | null> {
  for (let from = offset; from < end;) {
    const batch = await readBatch(reader, topic, partition, from);
    if (batch === null) return null;
    for (const record of timesOf(batch)) if (record.offset >= offset) return record;
    from = baseOffset(batch.bytes) + lastOffsetDelta(batch.bytes) + 1;
  }
  return null;
}

const isBetter = (one: TimedOffset, other: TimedOffset | null): boolean =>
  other === null ||
  one.timestamp > other.timestamp ||
  (one.timestamp === other.timestamp && one.offset < other.offset);

/** Null: it has gone since. */
async function readBatch(
  reader: LogReader,
  topic: string,
  partition: number,
  offset: number,
): Promise<Batch | null> {
  for (let tries = 1; ; tries++) {
    const [found] = await reader.find([{ topic, partition, offset, maxBytes: 1 }], 1);
    if (found.error === "offset_out_of_range") return null;
    if (found.error !== null) throw new MilepostError(found.error, found.detail);
    const bytes = reader.take(found);
    if (bytes !== null && bytes.length > 0) return { bytes, start: found.start };
    if (tries === TRIES) throw new MilepostError("damaged", `${topic}/${partition}: ${offset}`);
  }
}

/** Of the records that are there to be read. */
function* timesOf({ bytes, start }: Batch): Generator<TimedOffset> {
  if (isControl(bytes)) return;
  const epoch = leaderEpoch(bytes);
  const cursor = new RecordCursor();
  try {
    cursor.open(bytes);
    while (cursor.next()) {
      const { offset, timestamp } = cursor;
      if (offset >= start) yield { offset, timestamp, leaderEpoch: epoch };
    }
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    // too large to be opened: from its beginning on nothing of it is missed
    const offset = Math.max(baseOffset(bytes), start);
    yield { offset, timestamp: maxTimestamp(bytes), leaderEpoch: epoch };
  }
}
