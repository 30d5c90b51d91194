import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { setCrc, setU32 } from "../../src/batch/header.ts";
import { ATTRIBUTES, BATCH_LENGTH, HEADER_BYTES, LENGTH_OVERHEAD } from "../../src/batch/layout.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { batchesOf as lookUp, type KeyedBatches } from "../../src/log/keyed-reader.ts";
import { LogReader } from "../../src/log/reader.ts";
import { verifyDirectory } from "../../src/log/verify.ts";
import {
  appendOne,
  batchOf,
  newDirectory,
  openStore,
  readAll,
  sliceFiles,
  text,
  tickMany,
  toAppend,
} from "./fixture.ts";
import {
  batchesOf,
  every4th,
  fortyBatches,
  keyed,
  keyIndexEntries,
  numbered,
  padding,
  readerOf,
  readKey,
} from "./keyed.ts";
import { startLog } from "./log-thread.ts";

function gzipped(batch: Uint8Array): Uint8Array {
  const records = gzipSync(batch.subarray(HEADER_BYTES));
  const out = new Uint8Array(HEADER_BYTES + records.byteLength);
  out.set(batch.subarray(0, HEADER_BYTES));
  out.set(records, HEADER_BYTES);
  out[ATTRIBUTES + 1] |= 1;
  setU32(out, BATCH_LENGTH, out.byteLength - LENGTH_OVERHEAD);
  setCrc(out);
  return out;
}

const partitions = 2;
const key = fc.nat(8).map((n) => (n === 0 ? null : `driver-${n}`));
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      batches: fc.array(
        fc.record({
          p: fc.nat(partitions - 1),
          keys: fc.array(key, { minLength: 1, maxLength: 9 }),
          size: fc.nat(3000),
          compressed: fc.nat(9).map((n) => n === 0),
        }),
        { minLength: 1, maxLength: 8 },
      ),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("tick" as const), times: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      n: fc.integer({ min: 1, max: 9 }),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      to: fc.double({ min: 0, max: 1.2, noNaN: true }),
      max: fc.integer({ min: 1, max: 20_000 }),
    }),
  },
);

test.each(["delete", "compact"])(
  "%s: any history, the records of a key are all there",
  async (policy) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
        const dir = newDirectory();
        let now = 1_000_000;
        let store = openStore(dir, now);
        let reader = readerOf(store);
        store.createTopic("t", partitions, { ...keyed, "cleanup.policy": policy });
        const model: [key: string | null, value: string][][] = [[], []];
        const check = async (n: number, from: number, to: number, max?: number): Promise<void> => {
          for (let p = 0; p < partitions; p++) {
            const { start, highWatermark } = store.watermark("t", p);
            const first = start + Math.floor((highWatermark - start) * from);
            const end = start + Math.floor((highWatermark - start) * to);
            const key = `driver-${n}`;
            const { records } = await readKey(store, p, key, first, end, max, reader);
            const expected =
              policy === "delete"
                ? model[p].map(([k, value], offset) => ({ k, value, offset }))
                : readAll(store, "t", p).map((r) => {
                    return { k: text(r.key), value: text(r.value), offset: r.offset };
                  });
            const wanted = expected.filter(({ k, offset }) => {
              return k === key && offset >= first && offset < end;
            });
            expect(records.map((r) => `${r.offset} ${text(r.value)}`)).toEqual(
              wanted.map((r) => `${r.offset} ${r.value}`),
            );
          }
        };
        for (const s of steps) {
          now += 1000;
          if (s.kind === "append") {
            const batches = s.batches.map(({ p, keys, size, compressed }) => {
              const records = keys.map((k) => {
                const value = `${model[p].length} ${padding.slice(0, size)}`;
                const named = policy === "compact" ? (k ?? "driver-9") : k;
                model[p].push([named, value]);
                return { key: named, value };
              });
              const batch = batchOf(records);
              return toAppend("t", p, compressed ? gzipped(batch) : batch);
            });
            store.append(batches, now);
            expect(batches.map((b) => b.error)).toEqual(batches.map(() => null));
          } else if (s.kind === "tick") {
            tickMany(store, now, s.times);
          } else if (s.kind === "read") {
            await check(s.n, s.from, s.to, s.max);
          } else {
            reader.close();
            store.close();
            store = openStore(dir, now);
            reader = readerOf(store);
          }
        }
        for (let n = 1; n <= 9; n++) await check(n, 0, 1);
        tickMany(store, now);
        for (let n = 1; n <= 9; n++) {
          await check(n, 0, 1);
          await check(n, 0.1 * n, 0.95);
        }
        reader.close();
        store.close();
        expect(verifyDirectory(dir)).toEqual([]);
      }),
      { numRuns: 15 },
    );
  },
);

const offsets = (records: { offset: number }[]): number[] => records.map((r) => r.offset);

test("a look-up reads the batches of its key and no others", async () => {
  const dir = newDirectory();
  let store = openStore(dir);
  fortyBatches(store);
  tickMany(store, 1_000_000);
  const check = async (): Promise<void> => {
    for (const p of [0, 1]) {
      const { batches, records } = await readKey(store, p, "k1", 0, Infinity);
      expect(offsets(records)).toEqual(every4th(1));
      expect(batches).toHaveLength(10);
      expect((await batchesOf(store, p, "k1", 14, 22)).batches).toHaveLength(2);
      expect(await batchesOf(store, p, "k1", 0, 40, 1)).toMatchObject({ next: 5 });
      expect(await batchesOf(store, p, "nobody", 0, 40)).toMatchObject({ batches: [], next: 40 });
    }
  };
  await check();
  store.close();
  store = openStore(dir);
  // of the open slice nothing is known yet
  expect((await readKey(store, 0, "k1", 0, Infinity)).batches.length).toBeGreaterThan(10);
  tickMany(store, 1_000_000);
  await check();
  await expect(batchesOf(store, 0, "k1", 41, 50)).rejects.toThrow("have 0 to 40");
  await expect(batchesOf(store, 2, "k1", 0, 50)).rejects.toThrow("no such partition");
  store.deleteRecords("t", 0, 20);
  await expect(batchesOf(store, 0, "k1", 19, 40)).rejects.toThrow("have 20 to 40");
  expect(offsets((await readKey(store, 0, "k1", 20, 40)).records)).toEqual([21, 25, 29, 33, 37]);
  store.close();
});

test("slices from before the index are read whole, later ones are not", async () => {
  const dir = newDirectory();
  const store = openStore(dir);
  fortyBatches(store, { "segment.bytes": "65536" });
  tickMany(store, 1_000_000);
  expect(keyIndexEntries(sliceFiles(dir, "t")[0])).toEqual([]);
  const { batches, records } = await readKey(store, 0, "k2", 0, Infinity, 20_000);
  expect(batches).toHaveLength(40);
  expect(offsets(records)).toEqual(every4th(2));
  store.alterTopic("t", { "milepost.from": "position" });
  for (let i = 40; i < 80; i++) appendOne(store, "t", 0, numbered(i));
  tickMany(store, 1_000_000);
  const both = await readKey(store, 0, "k2", 0, Infinity, 20_000);
  expect(offsets(both.records)).toEqual([...every4th(2), ...every4th(42)]);
  expect(both.batches.length).toBeLessThan(60);
  store.close();
  expect(verifyDirectory(dir)).toEqual([]);
});

test("another thread looks keys up while others write, and slices are sealed", async () => {
  const log = await (await startLog(newDirectory())).port();
  await log.call("createTopic", "t", 1, keyed);
  const reader = new LogReader(log);
  const read = async (to: number): Promise<number[]> => {
    const found: number[] = [];
    for (let at = 0; at < to;) {
      const { batches, next } = await lookUp(
        reader,
        "t",
        0,
        Buffer.from("k1"),
        at,
        Infinity,
        20_000,
      );
      for (const batch of batches) {
        for (const r of recordsOf(batch)) if (text(r.key) === "k1") found.push(r.offset);
      }
      at = next;
    }
    return found;
  };
  for (let i = 0; i < 200; i++) {
    await log.append("t", [
      { key: Buffer.from(`k${i % 4}`), value: Buffer.from(padding), partition: 0 },
    ]);
    const expected = Array.from({ length: Math.floor((i + 3) / 4) }, (_, n) => 1 + 4 * n);
    if (i % 9 === 0) expect(await read(i + 1)).toEqual(expected);
  }
  await log.call("deleteTopic", "t");
  await expect(read(1)).rejects.toThrow("no such topic");
  reader.close();
});

test("the same as a full scan, while others append and retention takes slices", async () => {
  const dir = newDirectory();
  const thread = await startLog(dir);
  const log = await thread.port();
  await log.call("createTopic", "t", 1, { ...keyed, "retention.bytes": "400000" });
  const RECORDS = 3000;
  const keyAt = (offset: number): string => `k${(offset * 7919) % 13}`;
  let end = 0;
  const write = async (): Promise<void> => {
    while (end < RECORDS) {
      const records = Array.from({ length: 1 + (end % 9) }, (_, i) => {
        const value = Buffer.from(`${end + i} ${padding.slice(0, (end * 31) % 1500)}`);
        return { partition: 0, key: Buffer.from(keyAt(end + i)), value };
      });
      end += records.length;
      await log.append("t", records);
    }
  };
  let lookUps = 0;
  const look = async (seed: number): Promise<void> => {
    const reader = new LogReader(await thread.port());
    for (let n = seed; end < RECORDS; n++) {
      const { start, highWatermark } = await log.call("bounds", "t", 0);
      const from = start + Math.floor((highWatermark - start) * ((n * 0.37) % 1));
      const key = `k${n % 13}`;
      const to = n % 3 === 0 ? from + 200 : Infinity;
      const maxBytes = [1, 5000, 1_000_000][n % 3];
      let read: KeyedBatches;
      try {
        read = await lookUp(reader, "t", 0, Buffer.from(key), from, to, maxBytes);
      } catch (error) {
        expect(String(error)).toContain("out of range");
        continue;
      }
      lookUps++;
      const found = read.batches
        .flatMap((batch) => [...recordsOf(batch)])
        .filter((r) => text(r.key) === key && r.offset >= from && r.offset < to);
      for (const r of found) expect(text(r.value)?.split(" ")[0]).toBe(String(r.offset));
      const offsets = found.map((r) => r.offset);
      expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
      for (const offset of offsets) expect(keyAt(offset)).toBe(key);
      for (let o = Math.max(from, read.start); o < Math.min(to, read.next); o++) {
        if (keyAt(o) === key) expect(offsets).toContain(o);
      }
      if (highWatermark > from) expect(read.next).toBeGreaterThan(from);
    }
    reader.close();
  };
  await Promise.all([write(), look(0), look(5), look(11)]);
  expect(lookUps).toBeGreaterThan(20);
  const { start } = await log.call("bounds", "t", 0);
  expect(start).toBeGreaterThan(RECORDS / 4);
}, 60_000);
