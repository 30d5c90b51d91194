/** Fetched records as lines of text. */
import type { LogRecord } from "../log/types.ts";
import { plain, recordJson } from "./record-json.ts";
import type { Chunk } from "./topic-reader.ts";

const CONTROL_BATCH = 1 << 5;
const LOG_APPEND_TIME = 1 << 3;
const awkward = /[\r\n]|^null$/;
const noBytes = new Uint8Array(0);

/** The records that are wanted of a chunk, in order. */
export function* recordsOf({ partition, from, end, batches }: Chunk): Generator<LogRecord> {
  for (const batch of batches) {
    if ((batch.attributes & CONTROL_BATCH) !== 0) continue;
    const base = Number(batch.firstOffset);
    const first = Number(batch.firstTimestamp);
    const appended = (batch.attributes & LOG_APPEND_TIME) !== 0;
    for (const { offsetDelta, timestampDelta, key, value, headers } of batch.records) {
      const offset = base + offsetDelta;
      if (offset < from) continue;
      if (offset >= end) return;
      yield {
        partition,
        offset,
        timestamp: appended ? Number(batch.maxTimestamp) : first + Number(timestampDelta),
        key,
        value,
        headers: headers.map(([name, bytes]) => [String(name), bytes ?? noBytes]),
      };
    }
  }
}

export function jsonLine(topic: string, record: LogRecord): string {
  return `${JSON.stringify(recordJson(topic, record))}\n`;
}

/** The value alone. One that is no text, or more than a line of it, as JSON. */
export function valueLine(topic: string, record: LogRecord): string {
  return `${plain(recordJson(topic, record).value, awkward)}\n`;
}
