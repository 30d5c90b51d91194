import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { BatchBuilder } from "../../src/batch/builder.ts";
import { setCrc, setI64, setU32 } from "../../src/batch/header.ts";
import { BASE_SEQUENCE, PRODUCER_EPOCH, PRODUCER_ID } from "../../src/batch/layout.ts";
import { recordsOf, type BatchRecord } from "../../src/batch/records.ts";
import { LogStore } from "../../src/log/store.ts";
import type { AppendBatch } from "../../src/log/types.ts";

export function newDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), "milepost-log-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function openStore(dir: string, now = 1_000_000, lines: string[] = []): LogStore {
  return LogStore.open({ dir, diskMin: 0, now, log: (line) => lines.push(line) });
}

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

/** Appends one batch; its first offset. Throws its error. */
export function appendOne(
  store: LogStore,
  topic: string,
  partition: number,
  bytes: Uint8Array,
  now = 1_000_000,
): number {
  const batch = toAppend(topic, partition, bytes);
  store.append([batch], now);
  if (batch.error !== null) throw new Error(batch.error);
  return batch.baseOffset;
}

/** All records of a partition from its start, checked for order. */
export function readAll(store: LogStore, topic: string, partition: number): BatchRecord[] {
  const { start, highWatermark } = store.watermark(topic, partition);
  const records: BatchRecord[] = [];
  let at = start;
  while (at < highWatermark) {
    const { batches } = store.read(topic, partition, at, 50_000);
    if (batches.length === 0) break;
    for (const batch of batches) {
      for (const record of recordsOf(batch)) {
        if (record.offset < at) continue;
        records.push(record);
        at = record.offset + 1;
      }
      at = Math.max(at, endOf(batch));
    }
  }
  return records;
}

export function endOf(batch: Uint8Array): number {
  const view = new DataView(batch.buffer, batch.byteOffset);
  return Number(view.getBigInt64(0)) + view.getInt32(23) + 1;
}

export const text = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString();

/** Paths of a topic's slices, oldest first. */
export function sliceFiles(dir: string, topic: string): string[] {
  const topics = join(dir, "topics");
  const name = readdirSync(topics).find((d) => d.startsWith(`${topic}-`)) as string;
  const files = readdirSync(join(topics, name)).filter((f) => f.endsWith(".mdb"));
  return files.sort().map((f) => join(topics, name, f));
}

/** Work of the background, without waiting. */
export function tickMany(store: LogStore, now: number, times = 50): void {
  for (let i = 0; i < times; i++) store.tick(now + i);
}
