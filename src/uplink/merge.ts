/**
 * Small batches of a partition that wait behind each other leave as one: a broker takes one batch a
 * partition and request, and with few pings in each a far cluster would not keep up.
 */
import { BatchBuilder } from "../batch/builder.ts";
import { attributes, lastOffsetDelta, recordCount } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { stampProducer, type Producer } from "./stamped.ts";

const builder = new BatchBuilder();
const cursor = new RecordCursor();

/** Neither compressed nor of a time of its own, and whole: records can be copied from it. */
export const isPlain = (batch: Uint8Array): boolean =>
  attributes(batch) === 0 && recordCount(batch) === lastOffsetDelta(batch) + 1;

/** One batch of this producer with all records of these, which are plain and lie side by side. */
export function merged(batches: Uint8Array[], producer: Producer, sequence: number): Uint8Array {
  if (batches.length === 1) {
    stampProducer(batches[0], producer, sequence);
    return batches[0];
  }
  builder.reset();
  for (const batch of batches) {
    cursor.open(batch);
    while (cursor.next()) builder.copy(cursor, null);
  }
  const bytes = Buffer.allocUnsafe(builder.seal({ ...producer, sequence }));
  builder.copyTo(bytes, 0);
  return bytes;
}
