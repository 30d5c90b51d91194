import { expect, test } from "vitest";
import { LatestWriter } from "../../src/live/latest.ts";
import { CHANGED } from "../../src/live/drivers.ts";
import type { LogPort } from "../../src/log/client.ts";
import { partitionOf } from "../../src/partitions/murmur2.ts";
import type { TestPing } from "./fixture.ts";
import { startTracked, type Tracked } from "./tracked.ts";

const at = (id: string, ts: number, rest = {}): TestPing => ({ id, ts, lat: 1, lon: 2, ...rest });
const LATEST = "latest";

async function withLatest(partitions = 3, config = {}): Promise<Tracked> {
  const tracked = await startTracked({ partitions: 2 });
  await tracked.log.call("createTopic", LATEST, partitions, {
    "cleanup.policy": "compact",
    ...config,
  });
  return tracked;
}

async function readLatest(log: LogPort): Promise<{ id: string; ping: TestPing; at: number }[]> {
  const read = [];
  for (const { partition } of await log.describe(LATEST)) {
    let next = 0;
    for (;;) {
      const { records, next: after, highWatermark } = await log.read(LATEST, partition, next, 1e6);
      for (const { key, value, timestamp } of records) {
        const bytes = key as Uint8Array;
        expect(partitionOf(bytes, 0, bytes.byteLength, 3)).toBe(partition);
        const ping = JSON.parse(Buffer.from(value as Uint8Array).toString()) as TestPing;
        read.push({ id: Buffer.from(bytes).toString(), ping, at: timestamp });
      }
      next = after;
      if (next >= highWatermark) break;
    }
  }
  return read;
}

const changed = ({ drivers }: Tracked): number =>
  drivers.flags.subarray(0, drivers.rows).filter((flags) => (flags & CHANGED) !== 0).length;

test("the last position of each driver that moved, once", async () => {
  const tracked = await withLatest();
  const latest = new LatestWriter({ log: tracked.log, drivers: tracked.drivers });
  const strange = at('quo"te', 4, { trip: "t", note: "ключ", long: "x".repeat(7000) });
  await tracked.send([at("a", 1), at("a", 2), at("b", 3), strange], { timestamp: 9000 });
  await tracked.caughtUp();
  await latest.write();
  const read = await readLatest(tracked.log);
  expect(read.sort((a, b) => a.ping.ts - b.ping.ts)).toEqual([
    { id: "a", ping: at("a", 2), at: 9000 },
    { id: "b", ping: at("b", 3), at: 9000 },
    { id: 'quo"te', ping: strange, at: 9000 },
  ]);
  await latest.write();
  expect((await readLatest(tracked.log)).length).toBe(3);
  await tracked.send([at("b", 8)], { timestamp: 9001 });
  await tracked.caughtUp();
  await latest.write();
  expect((await readLatest(tracked.log)).filter(({ id }) => id === "b").at(-1)?.ping.ts).toBe(8);
  expect(latest.written).toBe(4);
  expect(changed(tracked)).toBe(0);
});

test("more drivers than a batch holds; who moves meanwhile is written again", async () => {
  const tracked = await withLatest();
  const latest = new LatestWriter({ log: tracked.log, drivers: tracked.drivers });
  const pings = Array.from({ length: 6000 }, (_, i) => at(`driver-${i}`, 1 + i, { speed: i % 90 }));
  await tracked.send(pings, { timestamp: 10_000 });
  await tracked.caughtUp();
  const writing = latest.write();
  expect(latest.write()).toBe(writing);
  await tracked.send([at("driver-0", 9999)], { timestamp: 10_001 });
  await tracked.caughtUp();
  await writing;
  await latest.write();
  const read = await readLatest(tracked.log);
  const last = new Map(read.map(({ id, ping }) => [id, ping]));
  expect(last.size).toBe(6000);
  expect(last.get("driver-0")).toEqual(at("driver-0", 9999));
  for (const ping of pings.slice(1)) expect(last.get(ping.id)).toEqual(ping);
});

test("refused: the drivers stay marked and are written when that is over", async () => {
  const tracked = await withLatest(3, { "max.message.bytes": "100" });
  const { log, drivers } = tracked;
  const latest = new LatestWriter({ log, drivers });
  await tracked.send([at("a", 1, { note: "x".repeat(200) })]);
  await tracked.caughtUp();
  await latest.write();
  expect(changed(tracked)).toBe(1);
  await log.call("alterTopic", LATEST, { "max.message.bytes": "100000" });
  await latest.write();
  expect((await readLatest(log)).map(({ id }) => id)).toEqual(["a"]);
  expect(changed(tracked)).toBe(0);
});

test("no such topic, or a log that has stopped: nothing, and no noise", async () => {
  const tracked = await startTracked();
  const { log, drivers, thread } = tracked;
  const latest = new LatestWriter({ log, drivers });
  await tracked.send([at("a", 1)]);
  await tracked.caughtUp();
  await latest.write();
  expect(changed(tracked)).toBe(1);
  await log.call("createTopic", LATEST, 3, {});
  await thread.stop();
  await latest.write();
  expect(changed(tracked)).toBe(1);
  expect(latest.written).toBe(0);
});
