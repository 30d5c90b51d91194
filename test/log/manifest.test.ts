import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { LogStore } from "../../src/log/store.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { newDirectory, openStore } from "./fixture.ts";

const PAGE_BYTES = 4096;
const namesOf = (store: LogStore): string[] =>
  store
    .topics()
    .map((t) => t.name)
    .sort();

test("a damaged page of the manifest is said, never followed", () => {
  const dir = newDirectory();
  const path = join(dir, "meta.mdb");
  let store = openStore(dir);
  for (let i = 0; i < 60; i++) store.createTopic(`topic-${i}`, 4, {});
  const topics = namesOf(store);
  store.close();
  const sound = join(dir, "sound");
  copyFileSync(path, sound);
  let refused = 0;
  for (let page = 2 * PAGE_BYTES; page < readFileSync(sound).length; page += PAGE_BYTES) {
    // pointers to its nodes, then its first node
    for (const at of [24, 26, PAGE_BYTES - 40]) {
      const bytes = readFileSync(sound);
      bytes[page + at] ^= 0xff;
      bytes[page + at + 1] ^= 0xff;
      // a new file each time: an environment may still be mapped
      rmSync(path);
      writeFileSync(path, bytes);
      try {
        store = openStore(dir);
      } catch (error) {
        expect(error).toBeInstanceOf(MilepostError);
        expect((error as MilepostError).code).toBe("damaged");
        refused++;
        continue;
      }
      expect(namesOf(store)).toEqual(topics);
      store.close();
    }
  }
  expect(refused).toBeGreaterThan(10);
});
