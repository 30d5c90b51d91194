import { once } from "node:events";
import { fork } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crcOf } from "../../src/batch/header.ts";
import { BoxArea } from "../../src/live/area.ts";
import { Checkpoint } from "../../src/live/checkpoint.ts";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { CHANGED, DriverTable } from "../../src/live/drivers.ts";
import type { TrackedTo } from "../../src/live/tracker.ts";
import { newDirectory } from "../log/fixture.ts";
import { bytesOf, livePing, type TestPing } from "./fixture.ts";
import { startTracked, TOPIC } from "./tracked.ts";

const at = (id: string, ts: number, rest = {}): TestPing => ({ id, ts, lat: 1, lon: 2, ...rest });

function fill(drivers: DriverTable, pings: TestPing[], from = 0): void {
  for (const [i, ping] of pings.entries()) {
    const key = bytesOf(ping.id);
    let row = drivers.find(key, 0, key.byteLength);
    if (row < 0) row = drivers.add(key, 0, key.byteLength);
    drivers.keep(row, livePing(ping, ping.ts, from + i), i % 3);
  }
}

function checkpointOf(path: string, to: TrackedTo | null, drivers = new DriverTable()) {
  const lines: string[] = [];
  const index = new DriverIndex(drivers);
  const report = (line: string): void => void lines.push(line);
  const tracker = { trackedTo: to };
  return {
    drivers,
    index,
    lines,
    tracker,
    checkpoint: new Checkpoint({ path, drivers, index, tracker, report }),
  };
}

const everything = (drivers: DriverTable): unknown[] =>
  Array.from({ length: drivers.rows }, (_, row) => row)
    .filter((row) => drivers.isUsed(row))
    .map((row) => {
      const { received, offset, partition, trip, flags } = drivers;
      const rest = [received[row], offset[row], partition[row], trip[row], flags[row]];
      return [drivers.json(row), ...rest];
    })
    .sort();

const to = { topicId: "one", applied: [3, 0, 7] };
const trackedPath = (): string => join(newDirectory(), "live", "positions.checkpoint");

const ping = fc.record({
  id: fc.nat(8000).map((n) => `driver-${n}`),
  ts: fc.nat(1e9),
  lat: fc.double({ min: -90, max: 90, noNaN: true }),
  lon: fc.double({ min: -180, max: 180, noNaN: true }),
  trip: fc.string({ maxLength: 9 }),
  note: fc.nat(7000).map((n) => "é".repeat(n / 2)),
});

test("what is loaded is what was saved", async () => {
  const dir = newDirectory();
  let n = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(ping, { maxLength: 300 }), fc.nat(5), async (pings, gone) => {
      const path = join(dir, String(n++), "checkpoint");
      const { checkpoint, drivers } = checkpointOf(path, to);
      fill(
        drivers,
        pings.map((p) => ({ ...p, lat: p.lat + 0, lon: p.lon + 0 })),
      );
      for (let row = 0; row < drivers.rows; row += gone + 1) drivers.remove(row);
      await checkpoint.save();
      const loaded = checkpointOf(path, null);
      expect(loaded.checkpoint.load()).toEqual(to);
      expect(everything(loaded.drivers)).toEqual(everything(drivers));
      const anywhere = loaded.index.near(0, 0, 3e7, 1000, () => true);
      expect(anywhere.length).toBe(drivers.count);
      expect(loaded.lines).toEqual([]);
    }),
    { numRuns: 30 },
  );
});

test("nothing is written when nothing has changed, nothing is left aside", async () => {
  const path = trackedPath();
  const { checkpoint, drivers, tracker } = checkpointOf(path, to);
  fill(
    drivers,
    Array.from({ length: 6000 }, (_, i) => at(`driver-${i}`, i, { speed: i })),
  );
  await Promise.all([checkpoint.save(), checkpoint.save()]);
  expect(readdirSync(join(path, ".."))).toEqual(["positions.checkpoint"]);
  const loaded = checkpointOf(path, null);
  expect(loaded.checkpoint.load()).toEqual(to);
  expect(everything(loaded.drivers)).toEqual(everything(drivers));
  writeFileSync(path, "overwritten");
  await checkpoint.save();
  expect(readFileSync(path, "utf8")).toBe("overwritten");
  tracker.trackedTo = { topicId: "one", applied: [4, 0, 7] };
  await checkpoint.save();
  expect(loaded.checkpoint.load()).toEqual(tracker.trackedTo);
});

test("what changes while it is written is as it was or newer", async () => {
  const path = trackedPath();
  const { checkpoint, drivers } = checkpointOf(path, to);
  const pings = Array.from({ length: 9000 }, (_, i) => at(`driver-${i}`, 1));
  fill(drivers, pings);
  const saving = checkpoint.save();
  const newer = { ts: 2, note: "x".repeat(100) };
  for (let i = 0; i < pings.length; i += 500) {
    fill(
      drivers,
      pings.slice(i, i + 500).map((p) => ({ ...p, ...newer })),
      50_000,
    );
    await new Promise((resolve) => setImmediate(resolve));
    // forgotten, and back in another row
    drivers.remove(drivers.findId(`driver-${i}`));
    fill(drivers, [at(`stranger-${i}`, 3), at(`driver-${i}`, 3)]);
  }
  await saving;
  const loaded = checkpointOf(path, null);
  expect(loaded.checkpoint.load()).toEqual(to);
  const there = pings.filter(({ id }) => loaded.drivers.findId(id) >= 0);
  expect(there.length).toBeGreaterThanOrEqual(pings.length - 20);
  for (const { id } of there) {
    const row = loaded.drivers.findId(id);
    const { ts, ...rest } = JSON.parse(`${loaded.drivers.json(row)}}`) as TestPing;
    expect(rest).toEqual({ id, lat: 1, lon: 2, ...(ts === 2 ? { note: newer.note } : {}) });
  }
});

test("a file that is damaged, cut off or another is said in a line", async () => {
  const path = trackedPath();
  const saved = checkpointOf(path, to);
  fill(
    saved.drivers,
    Array.from({ length: 5000 }, (_, i) => at(`driver-${i}`, i)),
  );
  await saved.checkpoint.save();
  const good = readFileSync(path);
  const cases: [string, () => void][] = [
    ["empty", () => truncateSync(path, 0)],
    ["another format or version", () => writeFileSync(path, "something else, which is longer")],
    ["another format or version", () => flip(0)],
    ["damaged", () => flip(20)],
    ["damaged", () => flip(good.length / 2)],
    ["damaged", () => flip(good.length - 1)],
  ];
  for (let length = 1; length < good.length; length += 9973) {
    cases.push(["cut off", () => truncateSync(path, length)]);
  }
  const flip = (where: number): void => {
    const bytes = Buffer.from(good);
    bytes[Math.floor(where)] ^= 0x40;
    writeFileSync(path, bytes);
  };
  for (const [why, spoil] of cases) {
    writeFileSync(path, good);
    spoil();
    const { checkpoint, lines, drivers } = checkpointOf(path, null);
    expect(checkpoint.load()).toBeNull();
    const text = why === "empty" ? "cut off" : why;
    expect(lines).toEqual([`${path} is no use (${text}): positions come from the log`]);
    // what was whole of it holds
    for (const [json] of everything(drivers) as [string][]) {
      const { id, ts } = JSON.parse(`${json}}`) as TestPing;
      expect(id).toBe(`driver-${ts}`);
    }
  }
});

test("whatever stands in a file whose sums are right, it does no harm", async () => {
  const path = trackedPath();
  const saved = checkpointOf(path, to);
  fill(
    saved.drivers,
    Array.from({ length: 20 }, (_, i) => at(`driver-${i}`, i, { note: "x".repeat(i) })),
  );
  await saved.checkpoint.save();
  const good = readFileSync(path);
  const flips = fc.array(fc.tuple(fc.nat(good.length - 5), fc.nat(255)), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(flips, (changes) => {
      const bytes = Buffer.from(good);
      for (const [where, value] of changes) bytes[4 + where] = value;
      for (let start = 4; start + 8 <= bytes.length;) {
        const end = start + 8 + bytes.readUInt32LE(start);
        if (end > bytes.length) break;
        bytes.writeUInt32LE(crcOf(bytes.subarray(start + 8, end)), start + 4);
        start = end;
      }
      writeFileSync(path, bytes);
      const { checkpoint, lines, index } = checkpointOf(path, null);
      const head = checkpoint.load();
      expect(lines.length).toBe(head === null ? 1 : 0);
      expect(head === null || head.applied.every(Number.isSafeInteger)).toBe(true);
      index.within(new BoxArea({ west: -180, south: -90, east: 180, north: 90 }), () => true);
    }),
    { numRuns: 1000 },
  );
});

test("where it cannot be written or read, a line says so, once", async () => {
  const dir = newDirectory();
  writeFileSync(join(dir, "live"), "in the way");
  const path = join(dir, "live", "positions.checkpoint");
  const { checkpoint, drivers, lines } = checkpointOf(path, to);
  fill(drivers, [at("a", 1)]);
  await checkpoint.save();
  await checkpoint.save();
  expect(lines.length).toBe(1);
  expect(lines[0]).toMatch(/^checkpoint of live tracking: .*(EEXIST|ENOTDIR)/);
  expect(checkpoint.load()).toBeNull();
  expect(lines[1]).toMatch(/cannot be read \(ENOTDIR\)/);
  const fresh = newDirectory();
  mkdirSync(join(fresh, "positions.checkpoint"));
  expect(checkpointOf(join(fresh, "positions.checkpoint"), null).checkpoint.load()).toBeNull();
});

test("none yet: no line, and the log from its start", () => {
  const { checkpoint, lines } = checkpointOf(trackedPath(), null);
  expect(checkpoint.load()).toBeNull();
  expect(lines).toEqual([]);
});

test("the log goes on where the checkpoint ends, and comes to the same", async () => {
  const path = trackedPath();
  const first = await startTracked({ partitions: 2 });
  const pings = Array.from({ length: 200 }, (_, i) =>
    at(`d${i % 20}`, 1000 + ((i * 7) % 40), { i }),
  );
  await first.send(pings.slice(0, 120), { timestamp: 5000 });
  await first.caughtUp();
  const fuzzy = first.tracker.trackedTo;
  await first.send(pings.slice(120), { timestamp: 5000 });
  await first.caughtUp();
  // the offsets of a moment ago, the rows of now
  await checkpointOf(path, fuzzy, first.drivers).checkpoint.save();
  first.tracker.stop();
  await first.thread.stop();
  const { drivers, checkpoint } = checkpointOf(path, null);
  const from = checkpoint.load();
  const second = await startTracked({ dir: first.dir, drivers, from });
  // at once, not when it has caught up
  expect(everything(second.drivers).length).toBe(20);
  const rows = Array.from({ length: drivers.rows }, (_, row) => row);
  for (const row of rows) {
    expect(second.tracker.partitions[drivers.partition[row]].applied).toBeGreaterThan(
      drivers.offset[row],
    );
  }
  await second.caughtUp();
  for (const { tracker } of [first, second]) tracker.tick();
  expect(everything(second.drivers)).toEqual(everything(first.drivers));
  expect(second.tracker.counts.pings).toBe(80);
});

test("of another topic: positions hold, offsets do not", async () => {
  const path = trackedPath();
  const first = await startTracked({ partitions: 2 });
  await first.send([at("a", 5), at("b", 5)]);
  await first.caughtUp();
  await checkpointOf(path, first.tracker.trackedTo, first.drivers).checkpoint.save();
  await first.log.call("deleteTopic", TOPIC);
  await first.thread.stop();
  const { drivers, checkpoint } = checkpointOf(path, null);
  const from = checkpoint.load();
  const second = await startTracked({ dir: first.dir, drivers, from, partitions: 3 });
  expect(second.seen("a")).toEqual(at("a", 5));
  expect([...drivers.offset.subarray(0, drivers.rows)]).toEqual([-1, -1]);
  expect(second.tracker.trackedTo?.applied).toEqual([0, 0, 0]);
  await second.send([at("a", 6)]);
  await second.caughtUp();
  expect(second.seen("a")?.ts).toBe(6);
});

test("of a log that lost its end: what it knows of those offsets is of no log", async () => {
  const first = await startTracked({ partitions: 1 });
  await first.send([at("a", 5)]);
  await first.caughtUp();
  const { topicId } = first.tracker.trackedTo as TrackedTo;
  first.tracker.stop();
  await first.thread.stop();
  const drivers = new DriverTable();
  fill(drivers, [at("lost", 7)], 30);
  const from = { topicId, applied: [31] };
  const second = await startTracked({ dir: first.dir, drivers, from });
  expect(second.tracker.trackedTo?.applied).toEqual([1]);
  expect(drivers.offset[drivers.findId("lost")]).toBe(-1);
  expect(drivers.flags[drivers.findId("lost")] & CHANGED).toBe(CHANGED);
  await second.send([at("b", 9)]);
  await second.caughtUp();
  expect(second.seen("b")).toEqual(at("b", 9));
});

test("killed at any moment, what is there is a whole checkpoint", async () => {
  const dir = newDirectory();
  const path = join(dir, "live", "positions.checkpoint");
  let saves = 0;
  for (let round = 0; round < 4; round++) {
    const child = fork(new URL("checkpoint-child.ts", import.meta.url), [path], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    await once(child, "message");
    for (let i = 0; i < round * 3; i++) await new Promise((resolve) => setImmediate(resolve));
    child.kill("SIGKILL");
    await once(child, "exit");
    const { checkpoint, drivers, lines } = checkpointOf(path, null);
    const head = checkpoint.load() as TrackedTo;
    expect(lines).toEqual([]);
    expect(drivers.count).toBe(6000);
    expect(head.applied[0]).toBeGreaterThan(0);
    saves++;
  }
  expect(saves).toBe(4);
});
