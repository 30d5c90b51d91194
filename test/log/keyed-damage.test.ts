import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { baseOffset, setCrc, u32 } from "../../src/batch/header.ts";
import { HEADER_BYTES } from "../../src/batch/layout.ts";
import type { BatchRecord } from "../../src/batch/records.ts";
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
} from "./fixture.ts";
import {
  batchesOf,
  every4th,
  fortyBatches,
  keyed,
  keyIndexEntries,
  numbered,
  readKey,
} from "./keyed.ts";

const valuesOf = (records: BatchRecord[]) => records.map((r) => [r.offset, text(r.value)]);
const offsets = (records: { offset: number }[]): number[] => records.map((r) => r.offset);

/** Flips a bit of the one place where `needle` stands. */
function flip(path: string, needle: string | Uint8Array, skip: number): void {
  const bytes = readFileSync(path);
  const at = bytes.lastIndexOf(needle);
  expect(at).toBeGreaterThan(0);
  bytes[at + skip] ^= 2;
  writeFileSync(path, bytes);
}

test("damage to the index: told by doctor, and the slice is read whole", async () => {
  const dir = newDirectory();
  let store = openStore(dir);
  fortyBatches(store);
  tickMany(store, 1_000_000);
  store.close();
  const [, path] = sliceFiles(dir, "t");
  const whole = readFileSync(path);
  const entries = keyIndexEntries(path);
  expect(entries).toHaveLength(4);
  for (const { key, value } of entries) {
    writeFileSync(path, whole);
    flip(path, Buffer.concat([key, value]), key.byteLength + value.byteLength - 2);
    expect(verifyDirectory(dir)).toContainEqual({
      file: path,
      topic: "t",
      partition: u32(key, 1),
      offset: -1,
      what: "its index of keys fails its checksum",
    });
    store = openStore(dir);
    for (const p of [0, 1]) {
      for (const n of [0, 1, 2, 3]) {
        expect(offsets((await readKey(store, p, `k${n}`, 0, Infinity)).records)).toEqual(
          every4th(n),
        );
      }
    }
    store.close();
  }
});

describe("a damaged batch", () => {
  test("is an error to who asks for its key, after what lies before, until skipped", async () => {
    const dir = newDirectory();
    let store = openStore(dir);
    fortyBatches(store);
    tickMany(store, 1_000_000);
    store.close();
    const path = sliceFiles(dir, "t").find((file) => readFileSync(file).includes("value-17-"));
    // the last one is in the second partition
    flip(path as string, "value-17-", 20);
    store = openStore(dir);
    const first = await batchesOf(store, 1, "k1", 0, 40);
    expect(first).toMatchObject({ next: 17 });
    expect(first.batches).toHaveLength(4);
    await expect(batchesOf(store, 1, "k1", 17, 40)).rejects.toThrow("t/1 at offset 17");
    expect(offsets((await readKey(store, 1, "k2", 0, 40)).records)).toEqual(every4th(2));
    store.skipDamage("t", 1, 17);
    const left = every4th(1).filter((offset) => offset !== 17);
    expect(offsets((await readKey(store, 1, "k1", 0, 40)).records)).toEqual(left);
    store.close();
  });

  test("before the index was made: may be of any key, and is never passed over", async () => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 1, keyed);
    for (let i = 0; i < 30; i++) appendOne(store, "t", 0, numbered(i));
    store.close();
    // its key: by its bytes it would be somebody else's
    flip(sliceFiles(dir, "t")[0], "value-05-", -3);
    store = openStore(dir);
    expect(store.topic("t").slices[0].row.state).toBe("rolled");
    const check = async (): Promise<void> => {
      for (const n of [0, 1, 2, 3]) {
        await expect(readKey(store, 0, `k${n}`, 0, 30)).rejects.toThrow("t/0 at offset 5");
        const after = await readKey(store, 0, `k${n}`, 6, 30);
        expect(offsets(after.records)).toEqual(every4th(n).filter((at) => at > 5 && at < 30));
      }
    };
    await check();
    tickMany(store, 1_000_000);
    expect(store.topic("t").slices[0].row.state).toBe("sealed");
    await check();
    store.close();
  });

  test("in a slice that goes on: its offsets are missing to every look-up", async () => {
    const dir = newDirectory();
    let store = openStore(dir);
    store.createTopic("t", 1, keyed);
    for (let i = 0; i < 8; i++) appendOne(store, "t", 0, numbered(i));
    store.close();
    flip(sliceFiles(dir, "t")[0], "value-05-", 20);
    store = openStore(dir);
    expect(store.recovery.damaged).toMatchObject([{ offset: 5 }]);
    const check = async (): Promise<void> => {
      await expect(readKey(store, 0, "k3", 0, 8)).rejects.toThrow("t/0 at offset 5");
    };
    for (let i = 8; i < 40; i++) {
      appendOne(store, "t", 0, numbered(i));
      if (i % 4 === 0) tickMany(store, 1_000_000, 2);
      await check();
    }
    tickMany(store, 1_000_000);
    expect(store.topic("t").slices[0].row.state).toBe("sealed");
    await check();
    expect(offsets((await readKey(store, 0, "k3", 7, 40)).records)).toEqual(every4th(3).slice(1));
    store.close();
  });
});

test("damage at the end of a slice is met on the way into the next one", async () => {
  const dir = newDirectory();
  let store = openStore(dir);
  store.createTopic("t", 2, keyed);
  for (let i = 0; i < 4; i++) appendOne(store, "t", 0, numbered(i));
  appendOne(store, "t", 1, numbered(50));
  store.close();
  flip(sliceFiles(dir, "t")[0], "value-03-", 20);
  store = openStore(dir);
  expect(store.recovery.damaged).toMatchObject([{ partition: 0, offset: 3 }]);
  for (let i = 0; i < 40; i++) appendOne(store, "t", 1, numbered(i));
  for (let i = 4; i < 8; i++) appendOne(store, "t", 0, numbered(i));
  for (let i = 0; i < 2; i++) {
    expect(await batchesOf(store, 0, "k1", 0, 8)).toMatchObject({ next: 3 });
    await expect(batchesOf(store, 0, "k1", 3, 8)).rejects.toThrow("t/0 at offset 3");
    expect(offsets((await readKey(store, 0, "k1", 4, 8)).records)).toEqual([5]);
    tickMany(store, 1_000_000);
    expect(store.topic("t").slices[0].row.state).toBe("sealed");
  }
  store.close();
});

test("records that cannot be read may be of any key", async () => {
  const store = openStore(newDirectory());
  store.createTopic("t", 1, keyed);
  const garbage = batchOf([{ key: "k0", value: "not a record any more" }]);
  garbage.fill(0xff, HEADER_BYTES + 3);
  setCrc(garbage);
  const at = appendOne(store, "t", 0, garbage);
  for (let i = 0; i < 40; i++) appendOne(store, "t", 0, numbered(i));
  tickMany(store, 1_000_000);
  expect(store.topic("t").slices[0].row.state).toBe("sealed");
  const { batches } = await batchesOf(store, 0, "k1", 0, 41);
  expect(batches).toHaveLength(11);
  expect(baseOffset(batches[0])).toBe(at);
  store.close();
});

test("kill -9 at any step of sealing: it goes on, and no look-up misses a record", async () => {
  const dir = newDirectory();
  const child = fileURLToPath(new URL("kill-seal-child.ts", import.meta.url));
  const states: string[] = [];
  for (const steps of [1, 2, 4, 6, 9, 13, 1000]) {
    const process_ = spawn(process.execPath, [child, dir], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let seen = 0;
    process_.stdout.setEncoding("utf8");
    process_.stdout.on("data", (chunk: string) => {
      seen += chunk.split("\n").length - 1;
      if (seen >= steps || chunk.includes("sealed")) process_.kill("SIGKILL");
    });
    await once(process_, "close");
    expect(verifyDirectory(dir)).toEqual([]);
    const store = openStore(dir);
    states.push(store.topic("t").slices[0].row.state);
    for (const p of [0, 1]) {
      const all = readAll(store, "t", p);
      for (const driver of ["driver-7", "driver-34"]) {
        const { records } = await readKey(store, p, driver, 0, Infinity);
        const wanted = all.filter((r) => text(r.key) === driver);
        expect(valuesOf(records)).toEqual(valuesOf(wanted));
        expect(records.length).toBeGreaterThan(100);
      }
    }
    store.close();
  }
  expect(states[0]).toBe("rolled");
  expect(states.at(-1)).toBe("sealed");
  expect(keyIndexEntries(sliceFiles(dir, "t")[0]).length).toBeGreaterThan(2);
}, 120_000);
