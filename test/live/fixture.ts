import { RecordCursor } from "../../src/batch/records.ts";
import { LivePing } from "../../src/live/live-ping.ts";
import { batchOf } from "../log/batches.ts";

export type TestPing = { id: string; ts: number; lat: number; lon: number } & Record<
  string,
  unknown
>;

/** A record as the tracker sees it; null when it is no ping. */
export function readPing(
  key: string | null,
  value: string | null,
  received: number,
  nowMs = Number.MAX_SAFE_INTEGER,
  offset = 0,
): LivePing | null {
  const cursor = new RecordCursor();
  cursor.open(batchOf([{ key, value, timestamp: received }]));
  cursor.next();
  cursor.offset = offset;
  const ping = new LivePing();
  return ping.read(cursor, nowMs) ? ping : null;
}

export function livePing(ping: TestPing, received: number, offset: number): LivePing {
  const read = readPing(ping.id, JSON.stringify(ping), received, received, offset);
  if (read === null) throw new Error(`no ping: ${JSON.stringify(ping)}`);
  return read;
}

export const bytesOf = (text: string): Uint8Array => Buffer.from(text);
