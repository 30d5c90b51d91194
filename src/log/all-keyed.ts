import { isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import type { AppendBatch } from "./types.ts";

const cursor = new RecordCursor();

/** Compaction keeps the newest record per key, so a record without one has no place there. */
export function allKeyed({ bytes, keyed }: AppendBatch): boolean {
  if (keyed === true || isControl(bytes)) return true;
  try {
    cursor.open(bytes);
    while (cursor.next()) if (cursor.keyStart < 0) return false;
    return true;
  } catch {
    return false;
  }
}
