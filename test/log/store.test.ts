import { existsSync } from "node:fs";
import { open } from "lmdb";
import { describe, expect, test } from "vitest";
import { recordsOf } from "../../src/batch/records.ts";
import { LmdbFile } from "../../src/log/lmdb-file.ts";
import { FORMAT } from "../../src/log/manifest.ts";
import { encodeSealed } from "../../src/log/slice-header.ts";
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

const hour = 3_600_000;
const ten = (value: string) => Array.from({ length: 10 }, () => ({ key: "k", value }));

describe("append and read", () => {
  test("offsets go up by records; all partitions of a commit share a transaction", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 3, {});
    const batches = [0, 1, 0, 2].map((p) => toAppend("t", p, batchOf(ten(`p${p}`))));
    store.append(batches, 1);
    expect(batches.map((b) => b.baseOffset)).toEqual([0, 0, 10, 0]);
    expect(store.metrics().commits).toBe(1);
    expect(store.describe("t").map((p) => [p.start, p.end, p.highWatermark])).toEqual([
      [0, 20, 20],
      [0, 10, 10],
      [0, 10, 10],
    ]);
    store.close();
  });

  test("an offset within a batch gives the whole batch", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 1, {});
    appendOne(store, "t", 0, batchOf(ten("a")));
    appendOne(store, "t", 0, batchOf(ten("b")));
    const { batches } = store.read("t", 0, 15, 1);
    expect(batches).toHaveLength(1);
    expect([...recordsOf(batches[0])].map((r) => r.offset)[0]).toBe(10);
    store.close();
  });

  test("at least one batch, however small maxBytes; then no more than maxBytes", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 1, {});
    for (let i = 0; i < 5; i++)
      appendOne(store, "t", 0, batchOf([{ key: "k", value: "x".repeat(900) }]));
    const length = store.read("t", 0, 0, 1).batches[0].byteLength;
    expect(store.read("t", 0, 0, 1).batches).toHaveLength(1);
    expect(store.read("t", 0, 0, 3 * length).batches).toHaveLength(3);
    expect(store.read("t", 0, 5, 100).batches).toHaveLength(0);
    store.close();
  });

  test("what was read stays as it was after later reads and writes", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 1, {});
    appendOne(store, "t", 0, batchOf(ten("first")));
    const [batch] = store.read("t", 0, 0, 1).batches;
    const copy = Buffer.from(batch);
    for (let i = 0; i < 50; i++) {
      appendOne(store, "t", 0, batchOf(ten("later".repeat(300))));
      store.read("t", 0, i * 10, 1_000_000);
    }
    expect(copy.equals(batch)).toBe(true);
    store.close();
  });

  test("offsets outside the log are refused", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 1, {});
    appendOne(store, "t", 0, batchOf(ten("a")));
    expect(() => store.read("t", 0, 11, 1)).toThrow("out of range");
    expect(() => store.read("t", 1, 0, 1)).toThrow("no such partition");
    expect(() => store.read("other", 0, 0, 1)).toThrow("no such topic");
    store.close();
  });

  test("a bad batch is refused, the others of its commit are not", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 1, { "max.message.bytes": "2000" });
    const good = toAppend("t", 0, batchOf(ten("a")));
    const short = toAppend("t", 0, batchOf(ten("a")).subarray(0, 100));
    const large = toAppend("t", 0, batchOf(ten("a".repeat(500))));
    const nowhere = toAppend("t", 7, batchOf(ten("a")));
    const unknown = toAppend("u", 0, batchOf(ten("a")));
    store.append([short, good, large, nowhere, unknown], 1);
    expect([short, good, large, nowhere, unknown].map((b) => b.error)).toEqual([
      "invalid_record",
      null,
      "too_large",
      "partition_missing",
      "topic_missing",
    ]);
    expect(store.describe("t")[0].end).toBe(10);
    store.close();
  });

  test("a batch larger than a value, and many small ones, come back as they were", () => {
    const store = openStore(newDirectory());
    store.createTopic("t", 2, {});
    const big = Array.from({ length: 60 }, (_, i) => ({ key: `${i}`, value: "x".repeat(10_000) }));
    const batches = [toAppend("t", 0, batchOf(big))];
    for (let i = 0; i < 300; i++)
      batches.push(toAppend("t", 1, batchOf([{ key: "k", value: `${i}` }])));
    store.append(batches, 1);
    expect(readAll(store, "t", 0)).toHaveLength(60);
    expect(readAll(store, "t", 1).map((r) => text(r.value))).toEqual(
      Array.from({ length: 300 }, (_, i) => `${i}`),
    );
    store.close();
  });
});

describe("slices", () => {
  const kb60 = () => batchOf([{ key: "k", value: "x".repeat(60_000) }]);

  test("a sealed slice is looked at in steps before it is read", () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 1, { "milepost.durability": "logged" });
    for (let i = 0; i < 500; i++) appendOne(store, "t", 0, batchOf(ten("x".repeat(100))));
    store.alterTopic("t", { "milepost.durability": "flushed" });
    tickMany(store, 1_000_000);
    const file = new LmdbFile(sliceFiles(dir, "t")[0]);
    const steps = [...file.checkStructure()];
    file.close();
    expect(steps.length).toBeGreaterThan(100);
    while (!store.topic("t").reader.prepare(0, 0)) continue;
    expect(readAll(store, "t", 0)).toHaveLength(5000);
    store.close();
  });

  test("reads cross slices, sealed and not", () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 2, { "segment.bytes": "65536" });
    for (let i = 0; i < 6; i++) {
      appendOne(store, "t", 0, kb60());
      if (i === 3) tickMany(store, 1_000_000);
    }
    expect(sliceFiles(dir, "t")).toHaveLength(6);
    expect(store.read("t", 0, 0, 1_000_000).batches).toHaveLength(6);
    store.close();
  });

  test("retention by bytes unlinks whole slices and moves the start", async () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 2, { "segment.bytes": "65536", "retention.bytes": "100000" });
    for (let i = 0; i < 10; i++) {
      appendOne(store, "t", 0, kb60());
      tickMany(store, 1_000_000);
    }
    await expect.poll(() => sliceFiles(dir, "t")).toHaveLength(3);
    expect(store.describe("t")[0]).toMatchObject({ start: 7, end: 10 });
    expect(() => store.read("t", 0, 6, 1)).toThrow("out of range");
    expect(readAll(store, "t", 0)).toHaveLength(3);
    store.close();
  });

  test("retention by time rolls what is expired, then unlinks it", () => {
    const dir = newDirectory();
    const store = openStore(dir, 0);
    store.createTopic("t", 1, { "retention.ms": String(hour) });
    appendOne(store, "t", 0, kb60(), 1);
    tickMany(store, hour / 2);
    expect(store.describe("t")[0].start).toBe(0);
    tickMany(store, 2 * hour);
    expect(store.describe("t")[0]).toMatchObject({ start: 1, end: 1, bytes: 0 });
    expect(appendOne(store, "t", 0, kb60(), 2 * hour)).toBe(1);
    store.close();
  });

  test("retention.ms=-1 keeps for ever", () => {
    const store = openStore(newDirectory(), 0);
    store.createTopic("t", 1, { "retention.ms": "-1", "segment.bytes": "65536" });
    for (let i = 0; i < 4; i++) appendOne(store, "t", 0, kb60(), 1);
    tickMany(store, 1000 * 365 * 24 * hour);
    expect(store.describe("t")[0].start).toBe(0);
    store.close();
  });

  test("a partition idle through every turnover goes on at its next offset", () => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 2, { "segment.bytes": "65536", "retention.bytes": "65536" });
    appendOne(store, "t", 1, batchOf(ten("idle")));
    const turn = () => {
      for (let i = 0; i < 10; i++) {
        appendOne(store, "t", 0, kb60());
        tickMany(store, 1_000_000);
      }
    };
    turn();
    store.close();
    store = openStore(dir);
    turn();
    expect(store.describe("t")[1]).toMatchObject({ start: 10, end: 10 });
    expect(appendOne(store, "t", 1, batchOf(ten("again")))).toBe(10);
    store.close();
  });

  test("deleted records stay deleted", async () => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 2, { "segment.bytes": "65536" });
    for (let i = 0; i < 5; i++) appendOne(store, "t", 0, kb60());
    appendOne(store, "t", 0, batchOf(ten("a")));
    expect(store.deleteRecords("t", 0, 7)).toBe(7);
    expect(store.deleteRecords("t", 0, 3)).toBe(7);
    expect(() => store.deleteRecords("t", 0, 16)).toThrow("out of range");
    tickMany(store, 1_000_000);
    await expect.poll(() => sliceFiles(dir, "t")).toHaveLength(1);
    store.close();
    store = openStore(dir);
    expect(store.describe("t")[0]).toMatchObject({ start: 7, end: 15 });
    expect(store.deleteRecords("t", 0, -1)).toBe(15);
    store.close();
  });
});

describe("topics", () => {
  test("settings, partitions and names survive a restart; a deleted topic does not", () => {
    const dir = newDirectory();
    let store = openStore(dir);
    const made = store.createTopic("a", 1, { "retention.ms": "5" });
    store.createTopic("b", 1, {});
    appendOne(store, "a", 0, batchOf(ten("x")));
    store.addPartitions("a", 3);
    store.alterTopic("a", { "retention.ms": null, "max.message.bytes": "5000" });
    store.deleteTopic("b");
    appendOne(store, "a", 2, batchOf(ten("x")));
    store.close();
    store = openStore(dir);
    expect(store.topics()).toEqual([
      { name: "a", id: made.id, partitions: 3, config: { "max.message.bytes": "5000" } },
    ]);
    expect(store.effectiveConfig("a")["retention.ms"]).toBe("604800000");
    expect(store.describe("a").map((p) => p.end)).toEqual([10, 0, 10]);
    expect(store.createTopic("b", 1, {}).id).not.toBe("");
    expect(store.describe("b")[0].end).toBe(0);
    store.close();
  });

  test("what cannot be made is refused with its reason", () => {
    const store = openStore(newDirectory());
    store.createTopic("a.b", 1, {});
    expect(() => store.createTopic("a.b", 1, {})).toThrow("exists already");
    expect(() => store.createTopic("a_b", 1, {})).toThrow("collides with a.b");
    expect(() => store.createTopic("..", 1, {})).toThrow("not a valid topic name");
    expect(() => store.createTopic("c", 0, {})).toThrow("number of partitions");
    expect(() => store.createTopic("c", 9000, {})).toThrow("at most 8000 partitions");
    expect(() => store.createTopic("c", 1, { "retention.ms": "soon" })).toThrow(
      "retention.ms=soon: expected a whole number of at least -1",
    );
    expect(() => store.addPartitions("a.b", 1)).toThrow("is not more");
    store.close();
  });

  test("a change of durability goes on in a slice of the new level", () => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 1, { "milepost.durability": "logged" });
    appendOne(store, "t", 0, batchOf(ten("a")));
    store.alterTopic("t", { "milepost.durability": "flushed" });
    appendOne(store, "t", 0, batchOf(ten("b")));
    expect(sliceFiles(dir, "t")).toHaveLength(2);
    store.close();
    store = openStore(dir);
    expect(readAll(store, "t", 0)).toHaveLength(20);
    store.close();
  });

  test("the leader epoch goes up with every start and is stamped into batches", () => {
    const dir = newDirectory();
    const epochs: number[] = [];
    for (let start = 0; start < 3; start++) {
      const store = openStore(dir);
      if (start === 0) store.createTopic("t", 1, {});
      appendOne(store, "t", 0, batchOf(ten("a")));
      const [batch] = store.read("t", 0, start * 10, 1).batches;
      epochs.push(new DataView(batch.buffer).getInt32(12));
      expect(store.describe("t")[0].leaderEpoch).toBe(epochs[start]);
      store.close();
    }
    expect(epochs).toEqual([0, 1, 2]);
  });
});

describe("formats", () => {
  test("a manifest of a newer format is refused", () => {
    const dir = newDirectory();
    openStore(dir).close();
    const options = { encoding: "binary", keyEncoding: "binary", noSubdir: true } as const;
    const env = open(`${dir}/meta.mdb`, { ...options, overlappingSync: false });
    env.putSync(Buffer.from("node"), encodeSealed({ format: FORMAT + 1 }));
    void env.close();
    expect(() => openStore(dir)).toThrow(`has format ${FORMAT + 1}, this program knows ${FORMAT}`);
  });

  test("a slice of a newer format is refused", () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 1, {});
    store.close();
    const [file] = sliceFiles(dir, "t");
    const options = { encoding: "binary", keyEncoding: "binary", noSubdir: true } as const;
    const env = open(file, { ...options, overlappingSync: false });
    env.putSync(Uint8Array.of(0), encodeSealed({ format: FORMAT + 1 }));
    void env.close();
    expect(() => openStore(dir)).toThrow(`has format ${FORMAT + 1}, this program knows ${FORMAT}`);
  });

  test("a directory of an older format is taken over, and marked", () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 1, {});
    appendOne(store, "t", 0, batchOf(ten("old")));
    store.close();
    const options = { encoding: "binary", keyEncoding: "binary", noSubdir: true } as const;
    const path = `${dir}/meta.mdb`;
    const formatOf = (): number => {
      const env = open<Uint8Array, Buffer>(path, { ...options, readOnly: true });
      const row = JSON.parse(String(env.get(Buffer.from("node"))?.subarray(4)));
      void env.close();
      return row.format;
    };
    const env = open(path, { ...options, overlappingSync: false });
    const node = JSON.parse(String((env.get(Buffer.from("node")) as Buffer).subarray(4)));
    env.putSync(Buffer.from("node"), encodeSealed({ ...node, format: 1 }));
    void env.close();
    expect(formatOf()).toBe(1);
    const again = openStore(dir);
    expect(readAll(again, "t", 0)).toHaveLength(10);
    again.close();
    expect(formatOf()).toBe(FORMAT);
  });

  test("topics without a manifest are never taken for a new directory", async () => {
    const dir = newDirectory();
    const store = openStore(dir);
    store.createTopic("t", 1, {});
    store.close();
    const { rmSync } = await import("node:fs");
    rmSync(`${dir}/meta.mdb`);
    expect(() => openStore(dir)).toThrow("meta.mdb is missing");
    expect(existsSync(`${dir}/topics`)).toBe(true);
  });
});
