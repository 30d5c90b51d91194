import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { maxTimestamp } from "../../src/batch/header.ts";
import type { LogPort } from "../../src/log/client.ts";
import { offsetForTime, offsetOfNewest } from "../../src/log/offset-for-time.ts";
import { LogReader } from "../../src/log/reader.ts";
import { compressBatch, forms, withRecords } from "../batch/compress.ts";
import { batchOf, newDirectory } from "./fixture.ts";
import { startLog } from "./log-thread.ts";

type Times = { offset: number; timestamp: number };

const start = async (): Promise<{ log: LogPort; reader: LogReader }> => {
  const log = await (await startLog(newDirectory())).port();
  return { log, reader: new LogReader(log) };
};

const append = async (log: LogPort, topic: string, bytes: Uint8Array): Promise<number> => {
  const [{ error, baseOffset }] = await log.appendBatches([{ topic, partition: 0, bytes }], false);
  expect(error).toBe(null);
  return baseOffset;
};

const batch = fc.record({
  // close together, so that many are equal
  times: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 9 }),
  form: fc.constantFrom(...forms),
  bytes: fc.constantFrom(10, 900),
});

test("any times, in any order, in any batch: the first record at or after each", async () => {
  const { log, reader } = await start();
  let topics = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(batch, { minLength: 1, maxLength: 30 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (batches, deleted) => {
        const topic = `t${topics++}`;
        await log.call("createTopic", topic, 1, { "segment.bytes": "16384" });
        const model: Times[] = [];
        for (const { times, form, bytes } of batches) {
          const value = randomBytes(bytes).toString("base64");
          const plain = batchOf(times.map((timestamp) => ({ key: "k", value, timestamp })));
          const base = await append(log, topic, compressBatch(plain, form));
          expect(base).toBe(model.length);
          times.forEach((timestamp, i) => model.push({ offset: base + i, timestamp }));
        }
        const from = Math.floor(deleted * deleted * model.length);
        await log.call("deleteRecords", topic, 0, from);
        const left = model.slice(from);
        for (let time = 0; time <= 61; time++) {
          const expected = left.find((r) => r.timestamp >= time) ?? null;
          const found = await offsetForTime(log, reader, topic, 0, time);
          expect(found).toEqual(expected && { ...expected, leaderEpoch: 0 });
        }
        const newest = Math.max(...left.map((r) => r.timestamp));
        const expected = left.find((r) => r.timestamp === newest) ?? null;
        const found = await offsetOfNewest(log, reader, topic, 0);
        expect(found).toEqual(expected && { ...expected, leaderEpoch: 0 });
        await log.call("deleteTopic", topic);
      },
    ),
    { numRuns: 25 },
  );
}, 120_000);

test("across slices, sealed or not", async () => {
  const { log, reader } = await start();
  await log.call("createTopic", "t", 1, { "segment.bytes": "16384" });
  const value = "x".repeat(3000);
  for (let i = 0; i < 40; i++) {
    const times = [i * 100, i * 100 + 50, i * 100 + 20];
    await append(log, "t", batchOf(times.map((timestamp) => ({ key: "k", value, timestamp }))));
  }
  // the last one is older than all others
  await append(log, "t", batchOf([{ key: "k", value, timestamp: 7 }]));
  expect((await log.call("metrics")).slices).toBeGreaterThan(10);
  const at = async (time: number) => (await offsetForTime(log, reader, "t", 0, time))?.offset;
  const look = async () => {
    expect(await Promise.all([0, 30, 51, 1001, 3900, 3950, 3951].map(at))).toEqual([
      0,
      1,
      3,
      31,
      117,
      118,
      undefined,
    ]);
    expect(await offsetOfNewest(log, reader, "t", 0)).toMatchObject({ offset: 118 });
  };
  await look();
  const sealed = async () => (await log.call("locate", [place(0)], 1))[0].slot?.writing;
  await expect.poll(sealed).toBe(false);
  await look();
}, 30_000);

const place = (offset: number) => ({ topic: "t", partition: 0, offset, maxBytes: 1 });

test("an empty partition has no offset for any time, a missing one is an error", async () => {
  const { log, reader } = await start();
  await log.call("createTopic", "t", 1, {});
  expect(await offsetForTime(log, reader, "t", 0, 0)).toBe(null);
  expect(await offsetOfNewest(log, reader, "t", 0)).toBe(null);
  await append(log, "t", batchOf([{ key: "k", value: "v", timestamp: 5 }]));
  await log.call("deleteRecords", "t", 0, -1);
  expect(await offsetForTime(log, reader, "t", 0, 0)).toBe(null);
  expect(await offsetOfNewest(log, reader, "t", 0)).toBe(null);
  await expect(offsetForTime(log, reader, "t", 1, 0)).rejects.toThrow("no such partition");
  await expect(offsetOfNewest(log, reader, "u", 0)).rejects.toThrow("no such topic");
});

test("a batch too large to be opened is found by its header", async () => {
  const { log, reader } = await start();
  await log.call("createTopic", "t", 1, {});
  await append(log, "t", batchOf([{ key: "k", value: "v", timestamp: 5 }]));
  const value = "x".repeat(500_000);
  const plain = batchOf([10, 30, 20].map((timestamp) => ({ key: "k", value, timestamp })));
  const packed = compressBatch(plain, "gzip");
  expect(packed.length * 100).toBeLessThan(plain.length);
  expect(maxTimestamp(packed)).toBe(30);
  await append(log, "t", packed);
  await append(log, "t", withRecords(packed, 1, Buffer.from("no records at all")));
  const found = { offset: 1, timestamp: 30, leaderEpoch: 0 };
  expect(await offsetForTime(log, reader, "t", 0, 6)).toEqual(found);
  expect(await offsetForTime(log, reader, "t", 0, 31)).toBe(null);
  expect(await offsetOfNewest(log, reader, "t", 0)).toEqual(found);
});
