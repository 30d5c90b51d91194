/**
 * Live tracking by itself: what a million drivers weigh, what a ping costs that nobody watches,
 * how long it takes to find who is near, and to write and load a checkpoint.
 *
 *     node --expose-gc load/live-bench.ts [--drivers 1000000] [--dir D]
 *
 * Drivers are spread over a city of half a degree, and move by some 10 m a ping.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { BatchBuilder } from "../src/batch/builder.ts";
import { RecordCursor } from "../src/batch/records.ts";
import { Checkpoint } from "../src/live/checkpoint.ts";
import { DriverIndex } from "../src/live/driver-index.ts";
import { CHANGED, DriverTable } from "../src/live/drivers.ts";
import { Fleet } from "../src/live/fleet.ts";
import { History } from "../src/live/history.ts";
import { Hub } from "../src/live/hub.ts";
import { LatestWriter } from "../src/live/latest.ts";
import { LivePing } from "../src/live/live-ping.ts";

const { values: options } = parseArgs({
  options: {
    drivers: { type: "string", default: "1000000" },
    dir: { type: "string", default: tmpdir() },
  },
});
const mb = 1024 * 1024;
const now = Date.now();
const PER_BATCH = 500;
const results: Record<string, unknown> = {};
let seed = 1;

const before = resident();
const city = makeCity(Number(options.drivers));
const first = pings(city, (i) => i);
results["drivers"] = city.drivers.count;
results["resident MB"] = round((resident() - before) / mb);
results["CPU µs per first ping"] = round(first);
results["CPU µs per ping, whole fleet"] = round(pings(city, () => Math.floor(random() * 1e9)));
await checkpoint("", city);
results["CPU ms per tick"] = round(cpuOf(() => city.fleet.tick(now)) / 1000);

const few = makeCity(10_000);
for (let round = 0; round < 3; round++) {
  results["CPU µs per ping, 10 000 drivers"] = pings(few, () => Math.floor(random() * 1e9));
}
const small = makeCity(100_000);
pings(small, (i) => i);
for (let round = 0; round < 3; round++) {
  results["CPU µs per ping, 100 000 drivers"] = pings(small, () => Math.floor(random() * 1e9));
}
near("near, in the city", small, () => [place(12.7), place(77.3)]);
near("near, 50 km off", small, () => [12.2, 77.3]);
near("near, another continent", small, () => [50, 8], 20);
await checkpoint(", 100 000 drivers", small);
await latest(small);

const crowd = makeCity(100_000);
pings(crowd, (i) => i, 0);
near("near, all in one place", crowd, () => [12.7, 77.3], 100);

for (const [name, value] of Object.entries(results)) {
  if (typeof value === "number") results[name] = round(value);
}
console.log(JSON.stringify(results, null, 2));

type City = ReturnType<typeof makeCity>;

function makeCity(count: number) {
  const drivers = new DriverTable();
  const index = new DriverIndex(drivers);
  const hub = new Hub(drivers, index, new History(mb));
  const counts = { pings: 0, late: 0 };
  const fleet = new Fleet({ drivers, index, hub, staleMs: 60_000 }, counts);
  return { count, drivers, index, hub, fleet, counts };
}

/** CPU µs of the tracker's own work, per ping: as many pings as drivers, at least 300 000. */
function pings(city: City, driverOf: (i: number) => number, spread = 0.5): number {
  const { fleet, drivers } = city;
  const cursor = new RecordCursor();
  const ping = new LivePing();
  const builder = new BatchBuilder();
  const total = Math.max(city.count, 300_000);
  let micros = 0;
  for (let sent = 0; sent < total;) {
    const batches: Uint8Array[] = [];
    // long enough for the clock of CPU time
    for (let b = 0; b < 100 && sent < total; b++) {
      for (let i = 0; i < PER_BATCH; i++)
        write(builder, driverOf(sent++) % city.count, drivers, spread);
      const bytes = new Uint8Array(builder.seal());
      builder.copyTo(bytes, 0);
      builder.reset();
      batches.push(bytes);
    }
    micros += cpuOf(() => {
      for (const batch of batches) {
        cursor.open(batch);
        while (cursor.next()) if (ping.read(cursor, now)) fleet.take(ping, 0);
      }
    });
  }
  return micros / total;
}

/** 118 B of a ping, as the simulated fleet sends them. */
function write(builder: BatchBuilder, driver: number, table: DriverTable, spread: number): void {
  const id = `drv-${String(driver).padStart(7, "0")}`;
  const row = table.findId(id);
  const step = (): number => (random() - 0.5) * 2e-4 * (spread === 0 ? 0 : 1);
  const lat = row < 0 ? 12.7 + random() * spread : table.lat[row] + step();
  const lon = row < 0 ? 77.3 + random() * spread : table.lon[row] + step();
  const heading = 100 + Math.floor(random() * 259);
  const rest = `"speed":${(10 + random() * 20).toFixed(1)},"heading":${heading}`;
  const ts = now - 1000 + Math.floor(random() * 1000);
  const at = `"lat":${lat.toFixed(6)},"lon":${lon.toFixed(6)}`;
  const value = Buffer.from(`{"id":"${id}","ts":${ts},${at},${rest},"accuracy":10.5}`);
  builder.append(Buffer.from(id), 0, id.length, value, 0, value.length, ts, null);
}

function near(name: string, city: City, at: () => [number, number], queries = 2000): void {
  const found = { drivers: 0 };
  const micros = cpuOf(() => {
    for (let i = 0; i < queries; i++) {
      const [lat, lon] = at();
      found.drivers += city.index.near(lat, lon, 20_000_000, 20, () => true).length;
    }
  });
  if (found.drivers !== queries * 20) throw new Error(`${found.drivers} drivers`);
  results[`µs, ${name}`] = micros / queries;
}

async function checkpoint(name: string, { drivers, index }: City): Promise<void> {
  const dir = mkdtempSync(join(options.dir, "live-bench-"));
  try {
    const path = join(dir, "checkpoint");
    const tracker = { trackedTo: { topicId: "bench", applied: [1] } };
    const report = (line: string): void => console.error(line);
    const began = process.cpuUsage();
    const started = performance.now();
    let turns = 0;
    let longest = 0;
    let last = started;
    const watch = (): void => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
      if (++turns > 0) turn = setImmediate(watch);
    };
    let turn = setImmediate(watch);
    await new Checkpoint({ path, drivers, index, tracker, report }).save();
    clearImmediate(turn);
    results[`checkpoint, MB${name}`] = statSync(path).size / mb;
    results[`checkpoint, ms to write${name}`] = performance.now() - started;
    results[`checkpoint, CPU ms to write (waiting in turns)${name}`] = cpuMicros(began) / 1000;
    results[`checkpoint, longest turn ms${name}`] = longest;
    const table = new DriverTable();
    const into = { path, drivers: table, index: new DriverIndex(table), tracker, report };
    const loading = performance.now();
    new Checkpoint(into).load();
    results[`checkpoint, ms to load${name}`] = performance.now() - loading;
    if (table.count !== drivers.count) throw new Error("not all were loaded");
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** A round of topic `latest` for everybody, but for the log's own part. */
async function latest({ drivers }: City): Promise<void> {
  const topic = { id: "bench", name: "latest", partitions: 4, config: {}, index: 0 };
  const log = { topic: () => topic, appendBatches: () => Promise.resolve([]) };
  for (let i = 0; i < 3; i++) {
    for (let row = 0; row < drivers.rows; row++) drivers.flags[row] |= CHANGED;
    const began = process.cpuUsage();
    await new LatestWriter({ log, drivers }).write();
    results["CPU µs per driver to topic latest"] = cpuMicros(began) / drivers.count;
  }
}

function place(from: number): number {
  return from + random() / 2;
}

function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

function resident(): number {
  for (let i = 0; i < 3; i++) gc?.();
  return process.memoryUsage.rss();
}

function cpuOf(work: () => void): number {
  const began = process.cpuUsage();
  work();
  return cpuMicros(began);
}

function cpuMicros(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return user + system;
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}
