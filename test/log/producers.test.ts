import { describe, expect, test } from "vitest";
import { Producers } from "../../src/log/producers.ts";
import { readHeaders } from "../../src/log/recovery.ts";
import { limits } from "../../src/model/limits.ts";
import {
  appendOne,
  batchOf,
  idempotent,
  newDirectory,
  openStore,
  sliceFiles,
  toAppend,
} from "./fixture.ts";

const records = (n: number) => Array.from({ length: n }, (_, i) => ({ key: `${i}`, value: "v" }));

function openTopic(dir = newDirectory()) {
  const store = openStore(dir);
  if (store.topics().length === 0) store.createTopic("t", 2, { "segment.bytes": "65536" });
  const send = (epoch: number, sequence: number, n = 1, producer = 7) =>
    appendOne(store, "t", 0, idempotent(records(n), producer, epoch, sequence));
  return { store, send };
}

describe("an idempotent producer", () => {
  test("gets the first offset again for any of its last five batches", () => {
    const { store, send } = openTopic();
    const offsets = [0, 1, 2, 3, 4, 5].map((s) => send(0, s * 3, 3));
    expect(offsets).toEqual([0, 3, 6, 9, 12, 15]);
    for (const s of [1, 2, 3, 4, 5]) expect(send(0, s * 3, 3)).toBe(s * 3);
    expect(() => send(0, 0, 3)).toThrow("duplicate_sequence");
    expect(store.describe("t")[0].end).toBe(18);
    store.close();
  });

  test("a gap, another length and an old epoch are refused", () => {
    const { store, send } = openTopic();
    send(3, 0);
    expect(() => send(3, 2)).toThrow("out_of_order_sequence");
    expect(() => send(3, 0, 2)).toThrow("out_of_order_sequence");
    expect(() => send(2, 1)).toThrow("fenced_producer");
    expect(() => send(4, 1)).toThrow("out_of_order_sequence");
    expect(send(4, 0)).toBe(1);
    expect(() => send(3, 1)).toThrow("fenced_producer");
    store.close();
  });

  test("sequences wrap at 2^31 - 1 to 0", () => {
    const { store, send } = openTopic();
    const last = 2 ** 31 - 1;
    send(0, last - 1, 2);
    expect(send(0, 0)).toBe(2);
    expect(send(0, last - 1, 2)).toBe(0);
    expect(send(0, 1, 1)).toBe(3);
    // one batch may itself wrap
    send(0, last - 2, 5, 8);
    expect(send(0, 2, 1, 8)).toBe(9);
    store.close();
  });

  test("an unknown producer may begin anywhere", () => {
    const { store, send } = openTopic();
    expect(send(0, 41)).toBe(0);
    expect(send(0, 42)).toBe(1);
    store.close();
  });

  test("only what is surely stored counts as a duplicate", () => {
    const dir = newDirectory();
    const { store, send } = openTopic(dir);
    for (let s = 10; s < 40; s += 3) send(0, s, 3);
    const check = (again: typeof send): void => {
      // older than the five kept, in other batches than it came in
      expect(() => again(0, 10, 5)).toThrow("duplicate_sequence");
      expect(() => again(0, 12, 1)).toThrow("duplicate_sequence");
      // its end is new
      expect(() => again(0, 38, 5)).toThrow("out_of_order_sequence");
      // from before the first that was seen: sent first, perhaps, and arrived second
      expect(() => again(0, 9, 1)).toThrow("out_of_order_sequence");
      expect(() => again(0, 9, 3)).toThrow("out_of_order_sequence");
    };
    check(send);
    store.close();
    const reopened = openTopic(dir);
    check(reopened.send);
    expect(reopened.send(0, 40)).toBe(30);
    reopened.store.close();
  });

  test("two batches and a repetition in one commit", () => {
    const { store } = openTopic();
    const batches = [0, 1, 0].map((s) => toAppend("t", 0, idempotent(records(1), 7, 0, s)));
    store.append(batches, 1);
    expect(batches.map((b) => [b.baseOffset, b.error])).toEqual([
      [0, null],
      [1, null],
      [0, null],
    ]);
    expect(store.describe("t")[0].end).toBe(2);
    store.close();
  });

  test("state survives a restart, and a roll before it", () => {
    const dir = newDirectory();
    const first = openTopic(dir);
    for (let s = 0; s < 3; s++) first.send(0, s);
    first.store.close();
    const second = openTopic(dir);
    expect(second.send(0, 2)).toBe(2);
    const big = { key: "k", value: "x".repeat(60_000) };
    // rolls twice: the headers carry what the slices before knew
    for (const s of [0, 1, 2]) {
      appendOne(second.store, "t", 0, idempotent([big], 9, 0, s));
    }
    expect(second.store.metrics().slices).toBe(3);
    second.store.close();
    const third = openTopic(dir);
    expect(third.send(0, 2)).toBe(2);
    expect(third.send(0, 3)).toBe(6);
    expect(() => third.send(0, 9)).toThrow("out_of_order_sequence");
    third.store.close();
  });

  test("a slice that begins with a batch does not take it for stored already", () => {
    const dir = newDirectory();
    const { store, send } = openTopic(dir);
    let sequence = 0;
    while (sliceFiles(dir, "t").length < 2) send(0, (sequence += 100), 100);
    // a crash right after the roll leaves this header and no batch: sent again, it must be taken
    const { headers } = readHeaders(sliceFiles(dir, "t")[1]);
    expect(headers[0].producers[0].batches.at(-1)?.[0]).toBe(sequence - 100);
    store.close();
  });

  test("is forgotten a day after its last batch, by the node's clock alone", () => {
    const hour = 3_600_000;
    const store = openStore(newDirectory(), 0);
    store.createTopic("t", 1, { "segment.bytes": "65536", "retention.ms": "-1" });
    // no time at all in its records, as some clients send them
    const timeless = [{ key: "k", value: "v", timestamp: -1 }];
    const sendAt = (hours: number, sequence: number): number =>
      appendOne(store, "t", 0, idempotent(timeless, 7, 0, sequence), hours * hour);
    const roll = (hours: number): void => {
      const big = batchOf([{ key: "k", value: "x".repeat(60_000) }]);
      for (let i = 0; i < 2; i++) appendOne(store, "t", 0, big, hours * hour);
    };
    sendAt(1, 0);
    roll(24);
    expect(() => sendAt(24, 5)).toThrow("out_of_order_sequence");
    sendAt(24, 1);
    roll(47);
    expect(() => sendAt(47, 5)).toThrow("out_of_order_sequence");
    roll(49);
    // nobody remembers: it may begin anywhere
    sendAt(49, 5);
    store.close();
  });

  test("of very many producers the one idle longest is forgotten", () => {
    const producers = new Producers();
    const at = (id: number, sequence: number) => idempotent(records(1), id, 0, sequence);
    for (let id = 0; id <= limits.producersMax; id++) {
      producers.add(at(id, 0), id, 1);
      producers.commit();
      if (id === 1) producers.add(at(0, 1), 0, 1);
    }
    expect(producers.size).toBe(limits.producersMax);
    expect(producers.check(at(0, 1))).toEqual({ duplicateOf: 0 });
    expect(producers.check(at(1, 0))).toBe(null);
  });

  test("partitions do not share sequences", () => {
    const { store } = openTopic();
    expect(appendOne(store, "t", 0, idempotent(records(1), 7, 0, 0))).toBe(0);
    expect(appendOne(store, "t", 1, idempotent(records(1), 7, 0, 0))).toBe(0);
    store.close();
  });
});
