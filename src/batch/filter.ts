/** Leaves records out of a batch without moving the others: for compaction. */
import { RecordCursor } from "./records.ts";
import { isControl, recordCount, setCrc, setI64, setU32 } from "./header.ts";
import { ATTRIBUTES, BATCH_LENGTH, HEADER_BYTES, LENGTH_OVERHEAD } from "./layout.ts";
import { MAX_TIMESTAMP, RECORD_COUNT } from "./layout.ts";

const CODEC_MASK = 7;

/**
 * The batch with only the records for which `keep` is true, uncompressed; itself when all stay.
 * Base offset, last offset and base timestamp stay as they were, so that every record left keeps
 * its bytes, and a batch left empty still tells its offsets and its producer.
 */
export function filterBatch(
  batch: Uint8Array,
  keep: (record: RecordCursor) => boolean,
): { batch: Uint8Array; records: number } {
  if (isControl(batch)) return { batch, records: recordCount(batch) };
  const cursor = new RecordCursor();
  cursor.open(batch);
  const ranges: number[] = [];
  let bytes = 0;
  let records = 0;
  let maxTimestamp = -1;
  while (cursor.next()) {
    if (!keep(cursor)) continue;
    ranges.push(cursor.start, cursor.end);
    bytes += cursor.end - cursor.start;
    records++;
    if (cursor.timestamp > maxTimestamp) maxTimestamp = cursor.timestamp;
  }
  if (records === recordCount(batch)) return { batch, records };
  const out = new Uint8Array(HEADER_BYTES + bytes);
  out.set(batch.subarray(0, HEADER_BYTES));
  let at = HEADER_BYTES;
  for (let i = 0; i < ranges.length; i += 2) {
    out.set(cursor.bytes.subarray(ranges[i], ranges[i + 1]), at);
    at += ranges[i + 1] - ranges[i];
  }
  setU32(out, BATCH_LENGTH, out.byteLength - LENGTH_OVERHEAD);
  out[ATTRIBUTES + 1] &= ~CODEC_MASK;
  setI64(out, MAX_TIMESTAMP, maxTimestamp);
  setU32(out, RECORD_COUNT, records);
  setCrc(out);
  return { batch: out, records };
}
