import { expect, test } from "vitest";
import { eachRecord, Journal } from "../../../src/listeners/broker/journal.ts";
import { newLog, type TestLog } from "./real-log.ts";

async function open(): Promise<{
  log: TestLog;
  journal: Journal;
  lines: string[];
  written: { value: number };
}> {
  const log = await newLog();
  const lines: string[] = [];
  const written = { value: 0 };
  const journal = new Journal(log, "__mqtt", written, (line) => lines.push(line));
  return { log, journal, lines, written };
}

async function state(log: TestLog): Promise<Record<string, string>> {
  const found = new Map<string, string>();
  await eachRecord(log, "__mqtt", (key, value) => {
    if (value === null) found.delete(key);
    else found.set(key, Buffer.from(value).toString());
  });
  return Object.fromEntries([...found].toSorted());
}

test("a key that changes often is written once per append", async () => {
  const { log, journal, written } = await open();
  for (let i = 0; i < 1000; i++) journal.set(`k${i % 3}`, Buffer.from(`${i}`));
  await journal.flushed();
  expect(written.value).toBe(3);
  expect(await state(log)).toEqual({ k0: "999", k1: "997", k2: "998" });
  journal.remove("k1");
  await journal.flushed();
  expect(await state(log)).toEqual({ k0: "999", k2: "998" });
});

test("flushed waits for an append that is under way", async () => {
  const { log, journal } = await open();
  journal.set("a", Buffer.from("1"));
  const first = journal.flushed();
  await new Promise((resolve) => setImmediate(resolve));
  await journal.flushed();
  expect(await state(log)).toEqual({ a: "1" });
  await first;
});

test("more than an append holds goes in several", async () => {
  const { log, journal } = await open();
  const value = Buffer.alloc(200 * 1024, "x");
  for (let i = 0; i < 12; i++) journal.set(`big/${i}`, value);
  await journal.flushed();
  expect(Object.keys(await state(log))).toHaveLength(12);
});

test("what a full disk refused is written when it can be, newest value first", async () => {
  const { log, journal, lines } = await open();
  log.failing = true;
  journal.set("a", Buffer.from("old"));
  journal.set("b", Buffer.from("b"));
  await expect(journal.flushed()).rejects.toThrow("disk");
  journal.set("a", Buffer.from("new"));
  await expect(journal.flushed()).rejects.toThrow("disk");
  expect(lines).toHaveLength(1);
  log.failing = false;
  await journal.flushed();
  expect(await state(log)).toEqual({ a: "new", b: "b" });
});

test("close writes what waits, and gives up when it cannot", async () => {
  const { log, journal, lines } = await open();
  journal.set("a", Buffer.from("1"));
  await journal.close();
  expect(await state(log)).toEqual({ a: "1" });
  log.failing = true;
  const other = new Journal(log, "__mqtt", { value: 0 }, (line) => lines.push(line));
  other.set("b", Buffer.from("2"));
  await other.close();
  expect(lines.length).toBeGreaterThan(0);
});
