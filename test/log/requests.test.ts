import { expect, test } from "vitest";
import { requests } from "../../src/log/requests.ts";
import { appendOne, batchOf, newDirectory, openStore, tickMany } from "./fixture.ts";

test("what takes long ends when its topic is deleted, or made anew", () => {
  const store = openStore(newDirectory());
  const make = (): void => {
    store.createTopic("t", 1, { "segment.bytes": "16384" });
    for (let i = 0; i < 8; i++)
      appendOne(store, "t", 0, batchOf([{ key: "k", value: "v".repeat(9000) }]));
    tickMany(store, 1_000_000);
    expect(store.topic("t").slices.length).toBeGreaterThan(4);
  };
  for (const begin of [
    () => requests.newestBatch(store, ["t", 0, []]),
    () => requests.skipDamage(store, ["t", 0]),
  ]) {
    make();
    const gone = begin();
    expect(gone.next().done).toBe(false);
    store.deleteTopic("t");
    expect(() => gone.next()).toThrow("t");
    make();
    const old = begin();
    expect(old.next().done).toBe(false);
    store.deleteTopic("t");
    make();
    expect(() => old.next()).toThrow("t");
    store.deleteTopic("t");
  }
  store.close();
});
