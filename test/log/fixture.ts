import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { recordsOf, type BatchRecord } from "../../src/batch/records.ts";
import { LogStore } from "../../src/log/store.ts";
import { toAppend } from "./batches.ts";

export { batchOf, idempotent, toAppend } from "./batches.ts";

export function newDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), "milepost-log-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export function openStore(dir: string, now = 1_000_000, lines: string[] = []): LogStore {
  return LogStore.open({ dir, diskMin: 0, now, log: (line) => lines.push(line) });
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

/** What an operation that yields comes to. */
export function answerOf<T>(steps: Generator<void, T>): T {
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}
