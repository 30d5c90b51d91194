import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { baseOffset, batchBytes, lastOffsetDelta } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import type { LogPort } from "../../src/log/client.ts";
import { LogReader, type Found } from "../../src/log/reader.ts";
import { newDirectory, sliceFiles } from "./fixture.ts";
import { startLog } from "./log-thread.ts";

const MIB = 1024 * 1024;

function batchesOf(bytes: Uint8Array): Uint8Array[] {
  const batches: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = batchBytes(bytes, at);
    batches.push(bytes.subarray(at, at + length));
    at += length;
  }
  return batches;
}

const nextOf = (batch: Uint8Array): number => baseOffset(batch) + lastOffsetDelta(batch) + 1;

function taken(reader: LogReader, found: Found): Uint8Array[] {
  const bytes = reader.take(found);
  if (bytes === null) throw new Error("nothing could be taken");
  return batchesOf(bytes);
}

/** Text of a record, by its offset: whoever reads another one notices. */
const valueAt = (p: number, offset: number): string => `${p}:${offset}:${"x".repeat(offset % 700)}`;

async function append(log: LogPort, topic: string, p: number, from: number, count: number) {
  const records = Array.from({ length: count }, (_, i) => ({
    partition: p,
    key: Buffer.from(`k${(from + i) % 10}`),
    value: Buffer.from(valueAt(p, from + i)),
  }));
  const [{ offset }] = await log.append(topic, records);
  expect(offset).toBe(from);
}

/** Reads on until `end`; every record is the one of its offset, and none is left out. */
async function follow(
  log: LogPort,
  topic: string,
  p: number,
  end: number,
  maxBytes: number,
): Promise<number> {
  const reader = new LogReader(log);
  let at = 0;
  let empty = 0;
  while (at < end) {
    const [found] = await reader.find([{ topic, partition: p, offset: at, maxBytes }], MIB);
    expect(found.error).toBe(null);
    const batches = taken(reader, found);
    if (batches.length === 0) {
      if (++empty > 1) await sleep(2);
      continue;
    }
    for (const batch of batches) {
      for (const { offset, value } of recordsOf(batch)) {
        if (offset < at) continue;
        expect(offset).toBe(at);
        expect(Buffer.from(value as Uint8Array).toString()).toBe(valueAt(p, offset));
        at++;
      }
    }
  }
  reader.close();
  return at;
}

test("readers follow a writer through open, rolled and sealed slices", async () => {
  const dir = newDirectory();
  const thread = await startLog(dir);
  const log = await thread.port();
  await log.call("createTopic", "t", 3, { "segment.bytes": "65536", "retention.ms": "-1" });
  const END = 4000;
  const write = async (p: number): Promise<void> => {
    for (let at = 0; at < END;) {
      const count = Math.min(1 + ((at * 7) % 23), END - at);
      await append(log, "t", p, at, count);
      at += count;
    }
  };
  const readers = [0, 1, 2].flatMap((p) =>
    [1, 5000, MIB].map(async (max) => follow(await thread.port(), "t", p, END, max)),
  );
  await Promise.all([write(0), write(1), write(2), ...readers]);
  expect(sliceFiles(dir, "t").length).toBeGreaterThan(20);
  // and once more, when all but the last are sealed
  expect(await follow(await thread.port(), "t", 1, END, 30_000)).toBe(END);
}, 60_000);

test("the first partition that has any gives one batch, the others what room is left", async () => {
  const thread = await startLog(newDirectory());
  const log = await thread.port();
  await log.call("createTopic", "t", 3, {});
  for (const p of [1, 2]) for (let i = 0; i < 5; i++) await append(log, "t", p, i * 10, 10);
  const reader = new LogReader(log);
  const reads = [0, 1, 2].map((partition) => ({ topic: "t", partition, offset: 0, maxBytes: 1 }));
  const counts = async (maxBytes: number, all: number): Promise<number[]> => {
    const found = await reader.find(
      reads.map((read) => ({ ...read, maxBytes })),
      all,
    );
    return found.map((f) => taken(reader, f).length);
  };
  expect(await counts(1, 1)).toEqual([0, 1, 0]);
  expect(await counts(1, MIB)).toEqual([0, 1, 1]);
  expect(await counts(MIB, MIB)).toEqual([0, 5, 5]);
  expect(await counts(MIB, 0)).toEqual([0, 1, 0]);
  // an offset inside a batch gives the whole batch
  const [found] = await reader.find([{ topic: "t", partition: 1, offset: 17, maxBytes: 1 }], 1);
  const [batch] = taken(reader, found);
  expect([baseOffset(batch), nextOf(batch)]).toEqual([10, 20]);
  reader.close();
});

test("bad places: each has its own error, and the others are served", async () => {
  const thread = await startLog(newDirectory());
  const log = await thread.port();
  await log.call("createTopic", "t", 1, {});
  await append(log, "t", 0, 0, 10);
  const reader = new LogReader(log);
  const at = (topic: string, partition: number, offset: number) => ({
    topic,
    partition,
    offset,
    maxBytes: MIB,
  });
  const found = await reader.find(
    [
      at("none", 0, 0),
      at("t", 7, 0),
      at("t", 0, 11),
      at("t", 0, -1),
      at("t", 0, 10),
      at("t", 0, 3),
    ],
    MIB,
  );
  const errors = ["topic_missing", "partition_missing", "offset_out_of_range"];
  expect(found.map((f) => f.error)).toEqual([...errors, errors[2], null, null]);
  expect(found.map((f) => f.bytes > 0)).toEqual([false, false, false, false, false, true]);
  expect(found[2]).toMatchObject({ start: 0, highWatermark: 10 });
  reader.close();
});

test("a compacted topic: in order, and the newest of each key, at any time", async () => {
  const dir = newDirectory();
  const thread = await startLog(dir);
  const log = await thread.port();
  const config = { "cleanup.policy": "compact", "segment.bytes": "65536" };
  await log.call("createTopic", "t", 2, config);
  for (let at = 0; at < 3000; at += 30) await append(log, "t", 0, at, 30);
  const slices = sliceFiles(dir, "t").length;
  const reader = new LogReader(log);
  const all = async (): Promise<number[]> => {
    const offsets: number[] = [];
    for (let at = 0; at < 3000;) {
      const read = { topic: "t", partition: 0, offset: at, maxBytes: 20_000 };
      const [found] = await reader.find([read], MIB);
      const batches = taken(reader, found);
      for (const batch of batches) for (const { offset } of recordsOf(batch)) offsets.push(offset);
      at = batches.length === 0 ? at : nextOf(batches.at(-1) as Uint8Array);
    }
    return offsets;
  };
  let reads = 0;
  let offsets: number[];
  do {
    offsets = await all();
    expect(offsets).toEqual([...new Set(offsets)].toSorted((a, b) => a - b));
    // keys are the offsets modulo ten
    for (let o = 2990; o < 3000; o++) expect(offsets).toContain(o);
  } while (++reads < 3 || sliceFiles(dir, "t").length === slices);
  await expect.poll(async () => (await all()).length, { timeout: 20_000 }).toBeLessThan(2000);
  reader.close();
}, 60_000);

test("slices deleted under a reader: it is told, and holds none of them open", async () => {
  const dir = newDirectory();
  const thread = await startLog(dir);
  const log = await thread.port();
  const small = { "segment.bytes": "65536", "retention.bytes": "200000" };
  await log.call("createTopic", "t", 1, small);
  const reader = new LogReader(log);
  let at = 0;
  for (let end = 0; end < 8000; end += 20) {
    await append(log, "t", 0, end, 20);
    // a slow reader: it is overtaken by retention again and again
    if (end % 300 !== 0) continue;
    const [found] = await reader.find([{ topic: "t", partition: 0, offset: at, maxBytes: 1 }], 1);
    if (found.error === "offset_out_of_range") at = found.start;
    else at = taken(reader, found).map(nextOf).at(-1) ?? at;
  }
  const ends = [at, 7999].map((offset) => ({ topic: "t", partition: 0, offset, maxBytes: MIB }));
  const found = await reader.find(ends, MIB);
  expect(found[1].bytes).toBeGreaterThan(0);
  await log.call("deleteTopic", "t");
  const open = (): string[] =>
    readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        const path = readlinkSync(`/proc/self/fd/${fd}`);
        return path.startsWith(dir) && path.includes("/topics/") ? [path] : [];
      } catch {
        return [];
      }
    });
  await expect.poll(open, { timeout: 10_000 }).toEqual([]);
  // not damage: whoever asks again is told
  for (const one of found) expect(reader.take(one)).toEqual(new Uint8Array(0));
  const [gone] = await reader.find([{ topic: "t", partition: 0, offset: 0, maxBytes: 1 }], 1);
  expect(gone.error).toBe("topic_missing");
  await expect.poll(() => readdirSync(`${dir}/topics`)).toEqual([]);
  reader.close();
}, 60_000);
