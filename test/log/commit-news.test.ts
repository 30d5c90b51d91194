import { expect, test } from "vitest";
import { recordsOf } from "../../src/batch/records.ts";
import { NewsListener } from "../../src/log/commit-news.ts";
import type { AppendBatch } from "../../src/log/types.ts";
import { limits } from "../../src/model/limits.ts";
import { newDirectory } from "./fixture.ts";
import { startLog } from "./log-thread.ts";

test("who asks is told each small commit whole", async () => {
  const thread = await startLog(newDirectory());
  const [log, other] = [await thread.port(), await thread.port()];
  await log.call("createTopic", "t", 2, {});
  const read: [partition: number, offset: number, value: string][] = [];
  const told: (Uint8Array | null)[] = [];
  other.onCommitted("t", (_partition, _highWatermark, batches) => told.push(batches));
  log.onCommitted(
    "t",
    (partition, highWatermark, batches) => {
      for (const record of recordsOf(batches as Uint8Array)) {
        read.push([partition, record.offset, Buffer.from(record.value as Uint8Array).toString()]);
      }
      expect(read.at(-1)?.[1]).toBe(highWatermark - 1);
    },
    true,
  );
  // it listens on a port of its own
  await other.call("describe", "t");
  for (let i = 0; i < 2 * limits.newsAheadMax; i++) {
    await log.append("t", [{ key: null, value: Buffer.from(`v${i}`), partition: i % 2 }]);
  }
  await expect.poll(() => told.length, { timeout: 15_000 }).toBe(2 * limits.newsAheadMax);
  expect(told.every((batches) => batches === null)).toBe(true);
  const all = Array.from({ length: 2 * limits.newsAheadMax }, (_, i) => {
    return [i % 2, Math.floor(i / 2), `v${i}`];
  });
  expect(read).toEqual(all);
});

test("who is behind, or would be by a large commit, is told only that there is one", () => {
  const heard = new Int32Array(new SharedArrayBuffer(4));
  const listener = new NewsListener();
  listener.listen("t", heard.buffer);
  listener.listen("quiet", null);
  const batch = (topic: string, partition: number, bytes: Uint8Array): AppendBatch => {
    return { topic, partition, bytes, baseOffset: 0, error: null };
  };
  const newsOf = (...batches: AppendBatch[]) => listener.newsOf(batches, () => 7);
  const small = batch("t", 3, Buffer.from("abc"));

  expect(newsOf(batch("other", 0, Buffer.alloc(9)))).toBeNull();
  expect(newsOf({ ...small, error: "disk_full" })).toBeNull();
  // batches of a partition stand side by side, whatever came between
  const mixed = newsOf(
    small,
    batch("quiet", 1, Buffer.from("?")),
    batch("t", 4, Buffer.from("x")),
    batch("t", 3, Buffer.from("de")),
  );
  expect(mixed?.committed).toEqual([
    ["t", 3, 7, 0, 5],
    ["quiet", 1, 7, 5, 5],
    ["t", 4, 7, 5, 6],
  ]);
  expect(Buffer.from(mixed?.bytes as Uint8Array).toString()).toBe("abcdex");

  const large = batch("t", 0, Buffer.alloc(limits.newsBytesMax + 1));
  expect(newsOf(large)).toEqual({ committed: [["t", 0, 7, 0, 0]], bytes: null });

  for (let i = 1; i < limits.newsAheadMax; i++) expect(newsOf(small)?.bytes).not.toBeNull();
  expect(newsOf(small)).toEqual({ committed: [["t", 3, 7, 0, 0]], bytes: null });
  Atomics.add(heard, 0, 1);
  expect(newsOf(small)?.bytes).not.toBeNull();
  expect(newsOf(small)?.bytes).toBeNull();
});
