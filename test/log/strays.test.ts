import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import type { LogStore } from "../../src/log/store.ts";
import { appendOne, batchOf, newDirectory, openStore, readAll, sliceFiles } from "./fixture.ts";

const value = "x".repeat(1000);
const fill = (store: LogStore, times: number): void => {
  for (let i = 0; i < times; i++) appendOne(store, "t", 0, batchOf([{ key: "k", value }]));
};

/** A log of two records, and a copy of its manifest; then `later` happens. */
function restored(later: (store: LogStore, dir: string) => void): string {
  const dir = newDirectory();
  let store = openStore(dir);
  store.createTopic("t", 1, { "segment.bytes": "20000" });
  fill(store, 2);
  store.close();
  copyFileSync(join(dir, "meta.mdb"), join(dir, "meta.copy"));
  for (let starts = 0; starts < 3; starts++) {
    store = openStore(dir);
    later(store, dir);
    store.close();
  }
  copyFileSync(join(dir, "meta.copy"), join(dir, "meta.mdb"));
  return dir;
}

test("an older manifest of the same slices: nothing is lost, no epoch begins twice", () => {
  const dir = restored((store) => fill(store, 2));
  const store = openStore(dir);
  expect(readAll(store, "t", 0)).toHaveLength(8);
  fill(store, 1);
  expect(readAll(store, "t", 0)).toHaveLength(9);
  store.close();
});

test("a manifest older than a slice with records is refused before anything is changed", () => {
  const dir = restored((store) => fill(store, 20));
  const before = readdirSync(dir, { recursive: true }).sort();
  const slices = sliceFiles(dir, "t");
  expect(slices.length).toBeGreaterThan(2);
  expect(() => openStore(dir)).toThrow("holds records, but meta.mdb does not list it");
  expect(sliceFiles(dir, "t")).toEqual(slices);
  expect(readdirSync(dir, { recursive: true }).sort()).toEqual(before);
});

test("a topic that an older manifest does not know is put aside, not deleted", () => {
  const dir = restored((store) => {
    if (store.topics().length > 1) return;
    store.createTopic("later", 1, {});
    store.createTopic("empty", 1, {});
    appendOne(store, "later", 0, batchOf([{ key: "k", value }]));
  });
  const lines: string[] = [];
  const store = openStore(dir, 1, lines);
  expect(store.topics().map((t) => t.name)).toEqual(["t"]);
  const [aside, ...others] = readdirSync(join(dir, "damaged"));
  expect(others).toEqual([]);
  expect(aside).toMatch(/^later-/);
  expect(existsSync(join(dir, "damaged", aside, "0000000001.mdb"))).toBe(true);
  expect(lines.join()).toContain(`damaged/${aside}`);
  expect(readdirSync(join(dir, "topics"))).toHaveLength(1);
  store.close();
});

test("remains of a deleted topic, and of a roll that did not come to its end, go", async () => {
  const dir = newDirectory();
  let store = openStore(dir);
  store.createTopic("t", 1, {});
  store.createTopic("u", 1, {});
  fill(store, 1);
  const [file] = sliceFiles(dir, "t");
  const next = sliceFiles(dir, "u")[0].replace("0001.mdb", "0002.mdb");
  copyFileSync(sliceFiles(dir, "u")[0], next);
  writeFileSync(next.replace("0002", "0003"), "");
  const copy = join(dir, "copy");
  copyFileSync(file, copy);
  store.deleteTopic("t");
  store.close();
  while (existsSync(join(file, ".."))) await setTimeout(5);
  // killed between the manifest and the files
  mkdirSync(join(file, ".."), { recursive: true });
  copyFileSync(copy, file);
  store = openStore(dir);
  expect(existsSync(file)).toBe(false);
  expect(existsSync(next)).toBe(false);
  expect(store.topics().map((t) => t.name)).toEqual(["u"]);
  expect(sliceFiles(dir, "u")).toHaveLength(1);
  store.close();
});
