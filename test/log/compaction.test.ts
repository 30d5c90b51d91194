import fc from "fast-check";
import { expect, test } from "vitest";
import { verifyDirectory } from "../../src/log/verify.ts";
import {
  appendOne,
  batchOf,
  idempotent,
  newDirectory,
  openStore,
  readAll,
  sliceFiles,
  text,
  tickMany,
} from "./fixture.ts";

const day = 24 * 3_600_000;
const compacted = { "cleanup.policy": "compact", "segment.bytes": "65536" };
/** Fills what is left of a slice, so that it is complete. */
const filler = () => batchOf([{ key: "filler", value: "x".repeat(64_000) }]);

test("the newest record of each key stays, offsets too", async () => {
  const dir = newDirectory();
  const store = openStore(dir);
  store.createTopic("t", 1, compacted);
  const pad = "x".repeat(3000);
  for (let round = 0; round < 10; round++) {
    const records = Array.from({ length: 10 }, (_, i) => ({
      key: `k${i}`,
      value: `${round}${pad}`,
    }));
    appendOne(store, "t", 0, batchOf(records));
  }
  const before = store.describe("t")[0];
  tickMany(store, 2_000_000, 100);
  await expect.poll(() => sliceFiles(dir, "t")).toHaveLength(2);
  const after = store.describe("t")[0];
  expect(after).toMatchObject({ start: 0, end: before.end });
  expect(after.bytes).toBeLessThan(before.bytes / 2);
  const left = readAll(store, "t", 0);
  const newest = new Map(left.map((r) => [text(r.key), r]));
  for (let i = 0; i < 10; i++) {
    expect(newest.get(`k${i}`)).toMatchObject({ offset: 90 + i });
  }
  store.close();
  expect(verifyDirectory(dir)).toEqual([]);
});

test("tombstones go after delete.retention.ms, and a reader gets past the gap", () => {
  const dir = newDirectory();
  const store = openStore(dir);
  store.createTopic("t", 1, { ...compacted, "delete.retention.ms": String(day) });
  appendOne(
    store,
    "t",
    0,
    batchOf([
      { key: "a", value: "1" },
      { key: "b", value: "1" },
    ]),
  );
  appendOne(store, "t", 0, batchOf([{ key: "a", value: null }]));
  appendOne(store, "t", 0, filler());
  appendOne(store, "t", 0, filler());
  tickMany(store, 2_000_000);
  const keys = () => readAll(store, "t", 0).map((r) => `${r.offset} ${text(r.key)}`);
  expect(keys()).toEqual(["1 b", "2 a", "3 filler", "4 filler"]);
  const later = 1_000_000 + 2 * day;
  appendOne(store, "t", 0, filler(), later);
  appendOne(store, "t", 0, filler(), later);
  tickMany(store, later + 1000);
  expect(keys()).toEqual(["1 b", "5 filler", "6 filler"]);
  store.close();
  expect(verifyDirectory(dir)).toEqual([]);
});

test("max.compaction.lag.ms compacts what the share of new records would not", () => {
  const dir = newDirectory();
  const store = openStore(dir);
  const lag = { "max.compaction.lag.ms": String(day) };
  store.createTopic("t", 1, { ...compacted, "min.cleanable.dirty.ratio": "1", ...lag });
  appendOne(store, "t", 0, batchOf([{ key: "a", value: "1" }]));
  appendOne(store, "t", 0, filler());
  appendOne(store, "t", 0, filler());
  tickMany(store, 2_000_000);
  const keys = () => readAll(store, "t", 0).map((r) => `${r.offset} ${text(r.key)}`);
  expect(keys()).toEqual(["0 a", "1 filler", "2 filler"]);
  // all of a log that was never compacted is new; what follows is a small part of it
  appendOne(store, "t", 0, batchOf([{ key: "a", value: "2" }]), 3_000_000);
  tickMany(store, 1_000_000 + day - 1000);
  expect(keys()).toEqual(["0 a", "1 filler", "2 filler", "3 a"]);
  // the open slice is complete once its oldest record is due
  tickMany(store, 1_000_000 + day + 2000);
  expect(keys()).toEqual(["2 filler", "3 a"]);
  store.close();
  expect(verifyDirectory(dir)).toEqual([]);
});

test("a record without a key has no place in a compacted topic", () => {
  const store = openStore(newDirectory());
  store.createTopic("t", 1, compacted);
  expect(() => appendOne(store, "t", 0, batchOf([{ key: null, value: "x" }]))).toThrow(
    "invalid_record",
  );
  store.close();
});

test("the last batch of a live producer stays, though its records go", () => {
  const dir = newDirectory();
  let store = openStore(dir);
  store.createTopic("t", 1, compacted);
  const mine = () => idempotent([{ key: "a", value: "1" }], 7, 0, 0);
  appendOne(store, "t", 0, mine());
  appendOne(store, "t", 0, batchOf([{ key: "a", value: "2" }]));
  appendOne(store, "t", 0, filler());
  appendOne(store, "t", 0, filler());
  tickMany(store, 2_000_000);
  expect(readAll(store, "t", 0).map((r) => r.offset)).toEqual([1, 2, 3]);
  expect(store.read("t", 0, 0, 1).batches).toHaveLength(1);
  store.close();
  store = openStore(dir);
  expect(appendOne(store, "t", 0, mine())).toBe(0);
  store.close();
});

test("compact,delete also lets old slices go", () => {
  const dir = newDirectory();
  const store = openStore(dir);
  const config = { ...compacted, "cleanup.policy": "compact,delete", "retention.ms": String(day) };
  store.createTopic("t", 1, config);
  for (let i = 0; i < 4; i++) appendOne(store, "t", 0, filler());
  tickMany(store, 1_000_000 + 3 * day, 100);
  expect(store.describe("t")[0]).toMatchObject({ start: 4, end: 4 });
  store.close();
});

test("against a model: latest value per key at any time, across passes and restarts", () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(fc.constant("put"), fc.nat(15), fc.nat(20_000)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("delete"), fc.nat(15), fc.constant(0)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("tick"), fc.nat(12), fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("restart"), fc.nat(3), fc.constant(0)) },
  );
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 80 }), (steps) => {
      const dir = newDirectory();
      let store = openStore(dir);
      store.createTopic("t", 2, { ...compacted, "delete.retention.ms": "1" });
      const model = [new Map<string, string>(), new Map<string, string>()];
      let now = 1_000_000;
      let n = 0;
      for (const [kind, key, size] of steps) {
        now += 10;
        const p = key % 2;
        if (kind === "put") {
          const value = `${n++}:${"x".repeat(size)}`;
          appendOne(store, "t", p, batchOf([{ key: `${key}`, value }]), now);
          model[p].set(`${key}`, value);
        } else if (kind === "delete") {
          appendOne(store, "t", p, batchOf([{ key: `${key}`, value: null }]), now);
          model[p].delete(`${key}`);
        } else if (kind === "tick") {
          tickMany(store, now, key);
        } else {
          store.close();
          store = openStore(dir, now);
        }
      }
      for (const p of [0, 1]) {
        const seen = new Map<string, string>();
        for (const { key, value } of readAll(store, "t", p)) {
          if (value === null) seen.delete(text(key) as string);
          else seen.set(text(key) as string, text(value) as string);
        }
        expect(seen).toEqual(model[p]);
      }
      store.close();
      expect(verifyDirectory(dir)).toEqual([]);
    }),
    { numRuns: 12 },
  );
});
