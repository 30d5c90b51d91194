import { gzipSync } from "node:zlib";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { setCrc, setU32 } from "../../src/batch/header.ts";
import { ATTRIBUTES, BATCH_LENGTH, HEADER_BYTES, LENGTH_OVERHEAD } from "../../src/batch/layout.ts";
import type { Channel, Subscriber } from "../../src/live/channel.ts";
import { parseChannel, type ChannelSpec } from "../../src/live/channel-name.ts";
import type { Frame } from "../../src/live/publication.ts";
import { limits } from "../../src/model/limits.ts";
import { batchOf, type TestRecord } from "../log/batches.ts";
import { sliceFiles } from "../log/fixture.ts";
import { damageRecord } from "./damage.ts";
import type { TestPing } from "./fixture.ts";
import { startTracked, TOPIC, type Tracked } from "./tracked.ts";

/** On a busy machine. */
const patient = { timeout: 15_000 };

const at = (id: string, ts: number, rest = {}): TestPing => ({ id, ts, lat: 1, lon: 2, ...rest });

function follow(tracked: Tracked, name: string): { heard: Record<string, unknown>[] } {
  const heard: Record<string, unknown>[] = [];
  const subscriber: Subscriber = {
    publish(_: Channel, { bytes }: Frame) {
      for (const line of Buffer.from(bytes).toString().split("\n")) {
        heard.push((JSON.parse(line) as { push: { pub: { data: {} } } }).push.pub.data);
      }
    },
    ended(_, why) {
      heard.push({ ended: why });
    },
  };
  tracked.hub.subscribe(parseChannel(name) as ChannelSpec, subscriber, (id, row) => {
    const { drivers, tracker } = tracked;
    const partition = row < 0 ? Number(id.length > 99) : drivers.partition[row];
    return { partition, applied: tracker.partitions[partition]?.applied ?? 0 };
  });
  return { heard };
}

async function appendBatch(tracked: Tracked, bytes: Uint8Array, partition = 0): Promise<void> {
  const batch = { topic: TOPIC, partition, bytes };
  const [{ error }] = await tracked.log.appendBatches([batch], false);
  if (error !== null) throw new Error(error);
}

const recordOf = (ping: TestPing): TestRecord => {
  return { key: ping.id, value: JSON.stringify(ping), timestamp: ping.ts };
};

function gzipped(records: TestRecord[]): Uint8Array {
  const batch = batchOf(records);
  const packed = gzipSync(batch.subarray(HEADER_BYTES));
  const out = new Uint8Array(HEADER_BYTES + packed.byteLength);
  out.set(batch.subarray(0, HEADER_BYTES));
  out.set(packed, HEADER_BYTES);
  out[ATTRIBUTES + 1] |= 1;
  setU32(out, BATCH_LENGTH, out.byteLength - LENGTH_OVERHEAD);
  setCrc(out);
  return out;
}

test("pings are told in the log's order, each once", async () => {
  const tracked = await startTracked({
    before: async (log) => {
      const value = Buffer.from(JSON.stringify(at("early", 5)));
      await log.append(TOPIC, [{ key: Buffer.from("early"), value, timestamp: 5 }]);
    },
  });
  await tracked.caughtUp();
  expect(tracked.seen("early")).toEqual(at("early", 5));
  const { heard } = follow(tracked, "driver:a");
  const all = follow(tracked, "bbox:-180,-90,180,90");
  for (let round = 0; round < 40; round++) {
    const pings = Array.from({ length: 25 }, (_, i) => at("a", round * 25 + i + 1));
    await tracked.send([...pings, at(`other-${round}`, 7)], { partition: 0 });
  }
  await tracked.caughtUp();
  expect(heard.map((h) => h.ts)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
  expect(all.heard.length).toBe(1040);
  expect(tracked.tracker.lag).toBe(0);
  expect(tracked.tracker.counts).toEqual({ pings: 1041, late: 0, skipped: 0, passedOver: 0 });
});

test("a late ping moves no marker back; of equal fixes the later in the log counts", async () => {
  const tracked = await startTracked();
  const driver = follow(tracked, "driver:a");
  const box = follow(tracked, "bbox:-180,-90,180,90");
  await tracked.send([at("a", 100), at("a", 50, { lat: 9 }), at("a", 100, { lat: 5 })], {
    partition: 0,
    timestamp: 1000,
  });
  await tracked.caughtUp();
  expect(tracked.seen("a")).toEqual(at("a", 100, { lat: 5 }));
  expect(driver.heard.map((h) => [h.lat, h.late])).toEqual([
    [1, undefined],
    [9, true],
    [5, undefined],
  ]);
  expect(box.heard.map((h) => h.lat)).toEqual([1, 5]);
  expect(tracked.tracker.counts.late).toBe(1);
});

test("a fast clock freezes no marker: neither a device's nor a producer's", async () => {
  const tracked = await startTracked();
  const { clock } = tracked;
  const later = clock.now + 3_000_000;
  await tracked.send([at("device", later)], { timestamp: clock.now - 20 });
  await tracked.send([at("device", clock.now - 10, { lat: 5 })], { timestamp: clock.now - 10 });
  await tracked.send([at("producer", later)], { timestamp: later });
  await tracked.caughtUp();
  expect(tracked.seen("device")?.lat).toBe(5);
  clock.now += 5;
  await tracked.send([at("producer", clock.now, { lat: 5 })], { timestamp: clock.now });
  await tracked.caughtUp();
  expect(tracked.seen("producer")?.lat).toBe(5);
});

test("records that are no pings are counted; compressed ones are read", async () => {
  const tracked = await startTracked();
  const bad: TestRecord[] = [
    { key: null, value: "{}" },
    { key: "a", value: null },
    { key: "a", value: "no json" },
    { key: "b", value: JSON.stringify(at("a", 1)) },
  ];
  await appendBatch(tracked, batchOf([...bad, recordOf(at("a", 3)), ...bad]));
  await appendBatch(tracked, gzipped([recordOf(at("b", 4)), ...bad, recordOf(at("c", 4))]));
  // it says it is compressed, and is not
  const broken = batchOf([recordOf(at("d", 1))]);
  broken[ATTRIBUTES + 1] |= 1;
  setCrc(broken);
  await appendBatch(tracked, broken);
  await appendBatch(tracked, batchOf([recordOf(at("e", 4))]));
  await tracked.caughtUp();
  expect(["a", "b", "c", "d", "e"].map((id) => tracked.seen(id)?.ts)).toEqual([
    3,
    4,
    4,
    undefined,
    4,
  ]);
  expect(tracked.tracker.counts).toMatchObject({ pings: 4, skipped: 13 });
});

test("batches larger than a look come to their turn, whatever else comes", async () => {
  const tracked = await startTracked({ partitions: 6 });
  const note = "n".repeat(7000);
  await Promise.all(
    Array.from({ length: 6 }, async (_, partition) => {
      for (let round = 0; round < 3; round++) {
        const pings = Array.from({ length: 120 }, (_x, i) =>
          at(`${partition}-${i}`, round, { note }),
        );
        await tracked.send(pings, { partition });
      }
    }),
  );
  await tracked.caughtUp();
  expect(tracked.tracker.counts.pings).toBe(6 * 3 * 120);
  expect(tracked.drivers.count).toBe(720);
});

test("a topic made anew: positions hold, offsets do not, whoever follows is told", async () => {
  const tracked = await startTracked({ partitions: 1 });
  const { log, tracker } = tracked;
  await tracked.send([at("a", 10), at("b", 10)]);
  await tracked.caughtUp();
  const { heard } = follow(tracked, "driver:a");
  await log.call("deleteTopic", TOPIC);
  await expect.poll(() => tracker.topic, patient).toBeNull();
  expect(heard).toEqual([{ ended: "topic_changed" }]);
  expect(tracked.seen("a")).toEqual(at("a", 10));
  expect(tracker.trackedTo).toBeNull();
  await log.call("createTopic", TOPIC, 3, {});
  await expect.poll(() => tracker.partitions.length, patient).toBe(3);
  await tracked.send([at("a", 20, { lat: 5 }), at("b", 5, { lat: 5 })], { partition: 2 });
  await tracked.caughtUp();
  expect([tracked.seen("a")?.lat, tracked.seen("b")?.lat]).toEqual([5, 1]);
  expect(tracker.trackedTo?.applied).toEqual([0, 0, 2]);
});

test("partitions that are added are followed from their start", async () => {
  const tracked = await startTracked({ partitions: 1 });
  await tracked.send([at("a", 10)]);
  await tracked.caughtUp();
  await tracked.log.call("addPartitions", TOPIC, 4);
  await tracked.send([at("b", 10)], { partition: 3 });
  await expect.poll(() => tracked.tracker.partitions.length, patient).toBe(4);
  await tracked.caughtUp();
  expect(tracked.seen("b")).toEqual(at("b", 10));
  expect(tracked.tracker.counts.pings).toBe(2);
});

test("what retention took first is counted, and the rest is read", async () => {
  const tracked = await startTracked({
    partitions: 1,
    before: async (log) => {
      for (let i = 0; i < 10; i++) {
        const value = Buffer.from(JSON.stringify(at(`d${i}`, i)));
        await log.append(TOPIC, [{ key: Buffer.from(`d${i}`), value, timestamp: i }]);
      }
    },
  });
  await tracked.caughtUp();
  const channels = ["driver:d1", "driver:never", "bbox:1,0,3,2"];
  const followers = channels.map((name) => follow(tracked, name));
  // behind the tracker's back: it is told of nothing, and where it would go on is gone
  const [first] = tracked.tracker.partitions;
  first.applied = 2;
  await tracked.log.call("deleteRecords", TOPIC, 0, 6);
  await tracked.send([at("last", 99)]);
  await tracked.caughtUp();
  expect(tracked.tracker.counts.passedOver).toBe(4);
  expect(tracked.seen("last")).toEqual(at("last", 99));
  // whoever follows a driver may have missed something: it has to ask
  const [driver, unseen, box] = followers.map(({ heard }) => heard);
  expect([driver, unseen]).toEqual([[{ ended: "topic_changed" }], [{ ended: "topic_changed" }]]);
  expect(box.at(-1)).toEqual({ ...at("last", 99), received: 99 });
});

test("damage is said once and waited at; other partitions go on", async () => {
  const first = await startTracked({ partitions: 2, config: { "segment.bytes": "16384" } });
  const { dir } = first;
  const note = "damage me".repeat(300);
  for (let i = 0; i < 12; i++) await first.send([at("a", i, { note })], { partition: 0 });
  await first.caughtUp();
  first.tracker.stop();
  await first.thread.stop();
  expect(damageRecord(sliceFiles(dir, TOPIC)[0], "damage me")).toBe(true);
  const tracked = await startTracked({ dir });
  await tracked.send([at("b", 1)], { partition: 1 });
  await expect.poll(() => tracked.seen("b"), patient).toEqual(at("b", 1));
  await expect.poll(() => tracked.lines.length, patient).toBe(1);
  expect(tracked.lines[0]).toMatch(/^live tracking: positions\/0: damaged/);
  await sleep(limits.trackerRetryMs * 1.5);
  expect(tracked.lines.length).toBe(1);
  // an operator skips it
  while ((await tracked.log.call("skipDamage", TOPIC, 0)) !== null);
  await expect.poll(() => tracked.seen("a")?.ts, patient).toBe(11);
});

test("a stop in the middle leaves nobody waiting", async () => {
  const tracked = await startTracked();
  const waiting = tracked.tracker.waitFor(0, 1e9, 60_000);
  const sent = Array.from({ length: 20 }, (_, i) => tracked.send([at("a", i)]));
  tracked.tracker.stop();
  expect(await waiting).toBe(false);
  await Promise.all(sent);
});

test("a driver that falls silent goes, and comes back", async () => {
  const tracked = await startTracked();
  const { clock, tracker, hub } = tracked;
  const { heard } = follow(tracked, "bbox:-180,-90,180,90");
  const now = clock.now;
  await tracked.send([at("a", now)]);
  await tracked.caughtUp();
  clock.now = now + 60_001;
  tracker.tick();
  tracker.tick();
  expect(heard.map((h) => h.gone ?? h.ts)).toEqual([now, "stale"]);
  await tracked.send([at("a", now - 5)], { timestamp: clock.now });
  await tracked.caughtUp();
  expect(heard.length).toBe(2);
  await tracked.send([at("a", clock.now)]);
  await tracked.caughtUp();
  tracker.tick();
  expect(heard.map((h) => h.gone ?? h.ts)).toEqual([now, "stale", clock.now]);
  expect(hub.channels).toBe(1);
});

test("beyond the most drivers the longest silent give way, unless followed", async () => {
  const tracked = await startTracked({ driversMax: 640, partitions: 1 });
  const { heard } = follow(tracked, "bbox:-180,-90,180,90");
  follow(tracked, "driver:d0");
  await tracked.send(Array.from({ length: 640 }, (_, i) => at(`d${i}`, 1000 + i)));
  await tracked.send([at("new", 5000)]);
  await tracked.caughtUp();
  expect(tracked.drivers.count).toBeLessThanOrEqual(640);
  expect(tracked.drivers.count).toBeGreaterThan(600);
  expect(tracked.seen("d0")?.ts).toBe(1000);
  expect(tracked.seen("d1")).toBeNull();
  expect(tracked.seen("d639")?.ts).toBe(1639);
  expect(tracked.seen("new")?.ts).toBe(5000);
  const gone = heard.filter((h) => h.gone === "stale").map((h) => h.id);
  expect(gone.length).toBe(641 - tracked.drivers.count);
  expect(gone).toContain("d1");
  expect(gone).not.toContain("new");
});
