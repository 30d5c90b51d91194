import { BatchBuilder } from "../../src/batch/builder.ts";
import { setCrc, setI64, setU32 } from "../../src/batch/header.ts";
import { BASE_SEQUENCE, PRODUCER_EPOCH, PRODUCER_ID } from "../../src/batch/layout.ts";
import type { AppendBatch } from "../../src/log/types.ts";

export type TestRecord = { key: string | null; value: string | null; timestamp?: number };

export function batchOf(records: TestRecord[]): Uint8Array {
  const builder = new BatchBuilder();
  for (const { key, value, timestamp } of records) {
    const k = key === null ? null : Buffer.from(key);
    const v = value === null ? null : Buffer.from(value);
    builder.append(k, 0, k?.length ?? 0, v, 0, v?.length ?? 0, timestamp ?? 1000, null);
  }
  const bytes = new Uint8Array(builder.seal());
  builder.copyTo(bytes, 0);
  return bytes;
}

export function idempotent(
  records: TestRecord[],
  producerId: number,
  epoch: number,
  sequence: number,
): Uint8Array {
  const batch = batchOf(records);
  setI64(batch, PRODUCER_ID, producerId);
  batch[PRODUCER_EPOCH] = epoch >> 8;
  batch[PRODUCER_EPOCH + 1] = epoch;
  setU32(batch, BASE_SEQUENCE, sequence);
  setCrc(batch);
  return batch;
}

export function toAppend(topic: string, partition: number, bytes: Uint8Array): AppendBatch {
  return { topic, partition, bytes, baseOffset: -1, error: null };
}
