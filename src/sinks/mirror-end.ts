/** Where a partition of the target stands: what its last record says of the source. */
import type { BatchProducer } from "../batch/builder.ts";
import {
  attributes,
  baseSequence,
  endOffset,
  isControl,
  lastOffsetDelta,
  producerEpoch,
  producerId,
} from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { limits } from "../model/limits.ts";
import type { MirrorCluster } from "./mirror-cluster.ts";
import { advance, sourceOffset } from "./mirror-lane.ts";
import { SinkFailure } from "./target.ts";

/** `producer`: who wrote it, at its next sequence; null where nobody can go on as that one. */
export type MirrorEnd = { next: number; producer: BatchProducer | null };

const TRANSACTIONAL = 0x10;
/** Each look back goes so many times as far as the one before. */
const FURTHER = 16;

/** Null: there is no record. */
export async function mirrorEnd(
  cluster: MirrorCluster,
  topic: string,
  partition: number,
): Promise<MirrorEnd | null> {
  const { first, end } = await cluster.bounds(topic, partition);
  let records = 0;
  for (let back = 1; back <= limits.mirrorLookBackMax; back *= FURTHER) {
    const from = Math.max(first, end - back);
    let found: MirrorEnd | null = null;
    for (let at = from; at < end;) {
      const batches = await cluster.read(topic, partition, at);
      // compaction may have left nothing up to the end
      if (batches.length === 0) break;
      for (const batch of batches) {
        at = endOffset(batch);
        if (isControl(batch)) continue;
        records++;
        found = lastIn(batch) ?? found;
      }
    }
    if (found !== null) return found;
    if (from > first) continue;
    if (records === 0) return null;
    break;
  }
  throw new SinkFailure(
    `${topic}/${partition}: the last records in the target have no header milepost-offset, so ` +
      "somebody else writes there and nothing says where to go on. Let the topic be this sink's " +
      "alone: delete it in the target, or mirror into another cluster",
  );
}

function lastIn(batch: Uint8Array): MirrorEnd | null {
  const cursor = new RecordCursor();
  cursor.open(batch);
  let offset: number | null = null;
  while (cursor.next()) offset = sourceOffset(cursor) ?? offset;
  return offset === null ? null : { next: offset + 1, producer: writerOf(batch) };
}

function writerOf(batch: Uint8Array): BatchProducer | null {
  const id = producerId(batch);
  if (id < 0 || (attributes(batch) & TRANSACTIONAL) !== 0) return null;
  const producer = { id, epoch: producerEpoch(batch), sequence: baseSequence(batch) };
  advance(producer, lastOffsetDelta(batch) + 1);
  return producer;
}
