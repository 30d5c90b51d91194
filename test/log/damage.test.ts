import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { recordsOf } from "../../src/batch/records.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { dumpTopic, verifyDirectory } from "../../src/log/verify.ts";
import {
  answerOf,
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

/** Flips a bit of the only place where `needle` stands in the file. */
function flipAt(file: string, needle: string, skip = 0): void {
  const bytes = readFileSync(file);
  const at = bytes.indexOf(needle);
  expect(at).toBeGreaterThan(0);
  bytes[at + skip] ^= 1;
  writeFileSync(file, bytes);
}

const numbered = (i: number, size: number) =>
  batchOf([{ key: "k", value: `value-${String(i).padStart(4, "0")}-${"x".repeat(size)}` }]);

/** Ten records of 30 KB in slices of two; a clean stop. */
function tenInSlices(dir: string): string[] {
  const store = openStore(dir);
  store.createTopic("t", 2, { "segment.bytes": "65536" });
  for (let i = 0; i < 10; i++) {
    appendOne(store, "t", 0, numbered(i, 30_000));
    tickMany(store, 1_000_000, 3);
  }
  appendOne(store, "t", 1, numbered(99, 10));
  tickMany(store, 1_000_000);
  store.close();
  return sliceFiles(dir, "t");
}

describe("a whole log", () => {
  test("is found whole, and dumped record by record", () => {
    const dir = newDirectory();
    tenInSlices(dir);
    const seen: string[] = [];
    expect(verifyDirectory(dir, ({ file }) => seen.push(file))).toEqual([]);
    expect(seen).toEqual(sliceFiles(dir, "t"));
    const records = [...dumpTopic(dir, "t", 0)];
    expect(records.map((r) => r.offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(records[3]).toMatchObject({ topic: "t", partition: 0, leaderEpoch: 0 });
    expect(text(records[3].value)).toMatch(/^value-0003-/);
    expect([...dumpTopic(dir, "t", null)]).toHaveLength(11);
  });

  test("dump leaves out what was deleted; a directory without a log is no damage", () => {
    const dir = newDirectory();
    expect(verifyDirectory(dir)).toEqual([]);
    expect(() => [...dumpTopic(dir, "t", null)]).toThrow("no log");
    tenInSlices(dir);
    const store = openStore(dir);
    store.deleteRecords("t", 0, 7);
    store.close();
    expect([...dumpTopic(dir, "t", 0)].map((r) => r.offset)).toEqual([7, 8, 9]);
    expect(() => [...dumpTopic(dir, "u", null)]).toThrow("no such topic");
    expect(() => [...dumpTopic(dir, "t", 2)]).toThrow("no such partition");
  });
});

describe("a flipped bit in a sealed slice", () => {
  test("is named, is never served, and does not hide what lies around it", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    flipAt(files[1], "value-0003-", 200);
    expect(verifyDirectory(dir)).toMatchObject([
      { file: files[1], topic: "t", partition: 0, offset: 3 },
    ]);
    expect(() => [...dumpTopic(dir, "t", 0)]).toThrow(`t/0 at offset 3 in ${files[1]}`);
    const dumped: number[] = [];
    try {
      for (const r of dumpTopic(dir, "t", 0)) dumped.push(r.offset);
    } catch {}
    expect(dumped).toEqual([0, 1, 2]);

    const store = openStore(dir);
    expect(store.read("t", 0, 0, 1_000_000).batches).toHaveLength(3);
    expect(() => store.read("t", 0, 3, 1_000_000)).toThrow(MilepostError);
    expect(() => store.read("t", 0, 3, 1_000_000)).toThrow("t/0 at offset 3");
    expect(store.read("t", 0, 4, 1_000_000).batches).toHaveLength(6);
    store.close();
  });

  test("can be skipped by an operator, and stays skipped", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    flipAt(files[1], "value-0003-", 200);
    let store = openStore(dir);
    expect(store.skipDamage("t", 0, null)).toBeNull();
    expect(store.skipDamage("t", 0, 2)).toBeNull();
    expect(() => store.read("t", 0, 3, 1)).toThrow("t/0 at offset 3");
    expect(store.skipDamage("t", 0, null)).toEqual({ from: 3, to: 4 });
    expect(store.read("t", 0, 0, 1_000_000).batches).toHaveLength(9);
    store.close();
    store = openStore(dir);
    expect(readAll(store, "t", 0).map((r) => r.offset)).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9]);
    expect(answerOf(store.topic("t").reader.firstBatchSince(0, 0, 3))).toBe(4);
    store.close();
    expect(verifyDirectory(dir)).toEqual([]);
    expect([...dumpTopic(dir, "t", 0)]).toHaveLength(9);
  });

  test("in a base offset, which no batch CRC covers", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    const bytes = readFileSync(files[2]);
    const at = bytes.indexOf("value-0004-");
    // the batch's base offset: 61 bytes of header and a record's head before the value
    const base = bytes.lastIndexOf(Buffer.from([0, 0, 0, 0, 0, 0, 0, 4]), at);
    bytes[base + 7] = 5;
    writeFileSync(files[2], bytes);
    expect(verifyDirectory(dir)).toMatchObject([{ partition: 0, offset: 4 }]);
    const store = openStore(dir);
    expect(() => store.read("t", 0, 4, 1)).toThrow("t/0 at offset 4");
    store.close();
  });

  test("anywhere in a file: never a crash, never wrong bytes, always named", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    const whole = readFileSync(files[1]);
    const expected = new Map([...dumpTopic(dir, "t", 0)].map((r) => [r.offset, text(r.value)]));
    let named = 0;
    for (let i = 0; i < 400; i++) {
      const damaged = Buffer.from(whole);
      const at = (i * 7919 * 37) % whole.length;
      damaged[at] ^= 1 << (i % 8);
      writeFileSync(files[1], damaged);
      if (verifyDirectory(dir).length > 0) named++;
      try {
        for (const r of dumpTopic(dir, "t", 0)) expect(text(r.value)).toBe(expected.get(r.offset));
      } catch (error) {
        expect(error).toBeInstanceOf(MilepostError);
      }
    }
    // the rest of the flips hit free pages, the older meta page or unused bytes of a page
    expect(named).toBeGreaterThan(200);
  });

  test("anywhere in a file: a node that runs serves right bytes or an error", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    const whole = readFileSync(files[1]);
    for (let i = 0; i < 150; i++) {
      const damaged = Buffer.from(whole);
      // two of three in the pages of the tree, where LMDB would follow it
      const page = i % 3 === 0 ? 0 : (whole.length / 4096 - 3) * 4096;
      damaged[(page + ((i * 7919 * 37) % (whole.length - page))) | 0] ^= 1 << (i % 8);
      writeFileSync(files[1], damaged);
      const store = openStore(dir);
      for (let offset = 0; offset < 10; offset++) {
        try {
          const [batch] = store.read("t", 0, offset, 1).batches;
          const [record] = recordsOf(batch);
          expect(text(record.value)).toMatch(new RegExp(`^value-000${offset}-x+$`));
          expect(record.offset).toBe(offset);
        } catch (error) {
          expect(error).toMatchObject({ code: "damaged" });
          expect([2, 3]).toContain(offset);
        }
      }
      store.close();
    }
  });

  test("a missing or a cut file is damage, not an end", () => {
    const dir = newDirectory();
    const files = tenInSlices(dir);
    truncateSync(files[0], 50_000);
    expect(verifyDirectory(dir).map((d) => d.file)).toContain(files[0]);
    const store = openStore(dir);
    expect(() => store.read("t", 0, 0, 1)).toThrow(MilepostError);
    store.close();
    rmSync(files[0]);
    expect(verifyDirectory(dir)).toMatchObject([{ file: files[0], what: "missing" }]);
    const again = openStore(dir);
    expect(() => again.read("t", 0, 0, 1)).toThrow("is missing");
    expect(again.read("t", 0, 2, 1).batches).toHaveLength(1);
    again.close();
  });
});

describe("the newest slice", () => {
  /** Ten commits of two partitions, no clean stop marker needed. */
  function open(dir: string): string {
    const store = openStore(dir);
    store.createTopic("t", 2, {});
    for (let i = 0; i < 10; i++) {
      const pair = [toAppend("t", 0, numbered(i, 500)), toAppend("t", 1, numbered(50 + i, 500))];
      store.append(pair, 1_000_000);
    }
    store.close();
    return sliceFiles(dir, "t")[0];
  }

  test("a damaged tail is cut, its bytes put aside, and told", () => {
    const dir = newDirectory();
    const file = open(dir);
    flipAt(file, "value-0009-", 100);
    flipAt(file, "value-0059-", 100);
    const lines: string[] = [];
    let store = openStore(dir, 1_000_000, lines);
    expect(store.recovery.cut).toMatchObject([
      { topic: "t", partition: 0, from: 9, to: 9 },
      { topic: "t", partition: 1, from: 9, to: 9 },
    ]);
    expect(lines.join("\n")).toMatch(/recovery cut t\/0 offsets 9-9/);
    const aside = readdirSync(join(dir, "damaged"));
    expect(aside).toHaveLength(1);
    expect(readFileSync(join(dir, "damaged", aside[0])).includes("value-0009-")).toBe(true);
    expect(store.describe("t").map((p) => p.end)).toEqual([9, 9]);
    expect(appendOne(store, "t", 0, numbered(9, 10))).toBe(9);
    store.close();
    expect(verifyDirectory(dir)).toEqual([]);
    store = openStore(dir);
    expect(store.recovery.cut).toEqual([]);
    expect(readAll(store, "t", 0)).toHaveLength(10);
    store.close();
  });

  test("of a damaged tail, the whole batches of other partitions stay", () => {
    const dir = newDirectory();
    const file = open(dir);
    flipAt(file, "value-0009-", 100);
    let store = openStore(dir);
    expect(store.recovery.cut).toMatchObject([{ partition: 0, from: 9, to: 9 }]);
    expect(store.describe("t").map((p) => p.end)).toEqual([9, 10]);
    expect(
      readAll(store, "t", 1)
        .map((r) => text(r.value)?.slice(0, 10))
        .at(-1),
    ).toBe("value-0059");
    store.close();
    store = openStore(dir);
    expect(store.recovery).toMatchObject({ cut: [], damaged: [] });
    store.close();
  });

  test("damage with whole commits behind it is kept, told and never served", () => {
    const dir = newDirectory();
    const file = open(dir);
    flipAt(file, "value-0004-", 100);
    const store = openStore(dir);
    expect(store.recovery.cut).toEqual([]);
    expect(store.recovery.damaged).toMatchObject([{ topic: "t", partition: 0, offset: 4 }]);
    expect(() => store.read("t", 0, 4, 1)).toThrow("t/0 at offset 4");
    expect(store.read("t", 0, 5, 100_000).batches).toHaveLength(5);
    expect(store.describe("t").map((p) => p.end)).toEqual([10, 10]);
    store.close();
  });

  test.each([
    ["all pages were written", 0],
    ["the newest tree was not", 1],
  ])("logged, and the machine went down: %s", (_, lost) => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 1, { "milepost.durability": "logged" });
    for (let i = 0; i < 5; i++) appendOne(store, "t", 0, numbered(i, 3000));
    store.close(); // flushes
    store = openStore(dir);
    for (let i = 5; i < 9; i++) appendOne(store, "t", 0, numbered(i, 3000));
    const [file] = sliceFiles(dir, "t");
    const bytes = readFileSync(file);
    const manifest = readFileSync(join(dir, "meta.mdb"));
    store.close();
    // the file as it was before the second stop, under another boot id
    for (const at of [0, 4096, 2048]) bytes[at + 160] ^= 0xff;
    const metas = [0, 4096].map((at) => ({
      txn: bytes.readBigUInt64LE(at + 152),
      root: Number(bytes.readBigUInt64LE(at + 136)),
    }));
    metas.sort((a, b) => Number(b.txn - a.txn));
    for (const { root } of metas.slice(0, lost)) bytes.fill(0, root * 4096, (root + 1) * 4096);
    writeFileSync(file, bytes);
    writeFileSync(join(dir, "meta.mdb"), manifest);

    store = openStore(dir);
    const offsets = readAll(store, "t", 0).map((r) => r.offset);
    expect(offsets).toEqual(Array.from({ length: 9 - lost }, (_, i) => i));
    expect(store.recovery).toMatchObject({ clean: false, cut: [], damaged: [] });
    // who remembers offsets from before learns that they may stand for other records now
    expect(store.topics()).toMatchObject([{ name: "t", losses: 1 }]);
    // written anew: LMDB by itself would go back to the last flush
    expect(sliceFiles(dir, "t")).toMatchObject([expect.stringMatching(/\.1\.mdb$/)]);
    expect(appendOne(store, "t", 0, numbered(9 - lost, 10))).toBe(9 - lost);
    store.close();
    expect(verifyDirectory(dir)).toEqual([]);
  });

  test("a bit flipped anywhere: it starts with right bytes, or says what is damaged", () => {
    const dir = newDirectory();
    const file = open(dir);
    const whole = readFileSync(file);
    const manifest = readFileSync(join(dir, "meta.mdb"));
    for (let i = 0; i < 120; i++) {
      for (const other of sliceFiles(dir, "t")) rmSync(other);
      writeFileSync(join(dir, "meta.mdb"), manifest);
      const damaged = Buffer.from(whole);
      damaged[(i * 7919 * 37) % whole.length] ^= 1 << (i % 8);
      writeFileSync(file, damaged);
      try {
        const store = openStore(dir);
        for (const { partition, end } of store.describe("t")) {
          for (let offset = 0; offset < end; offset++) {
            try {
              const [record] = recordsOf(store.read("t", partition, offset, 1).batches[0]);
              const value = `value-${String(offset + partition * 50).padStart(4, "0")}-`;
              expect(text(record.value)?.startsWith(value)).toBe(true);
            } catch (error) {
              expect(error).toMatchObject({ code: "damaged" });
            }
          }
          const base = appendOne(store, "t", partition, numbered(end + partition * 50, 10));
          expect(base).toBe(end);
        }
        store.close();
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^(damaged|newer_format)$/) });
      }
    }
  });

  test("the offsets of a damaged batch are never given again", () => {
    const dir = newDirectory();
    const file = open(dir);
    let store = openStore(dir);
    for (let i = 0; i < 3; i++) appendOne(store, "t", 1, numbered(80 + i, 20));
    store.close();
    flipAt(file, "value-0009-", 100);
    store = openStore(dir);
    expect(store.recovery).toMatchObject({ cut: [], damaged: [{ partition: 0, offset: 9 }] });
    expect(appendOne(store, "t", 0, numbered(10, 20))).toBe(10);
    expect(() => store.read("t", 0, 9, 1)).toThrow("t/0 at offset 9");
    store.close();
  });
});
