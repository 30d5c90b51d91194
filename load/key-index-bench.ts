/**
 * The index of keys by itself: what it costs to make, how large it is, and what a look-up reads,
 * over a city's pings: every driver sends once a round, in another order each time.
 *
 *     node load/key-index-bench.ts [--dir D] [--slices 10] [--drivers 10000] [--records 8]
 *         [--partitions 16] [--key driver|h3:6]
 *
 * `--records` is of a batch; `--key h3:6` is the same without an index.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { BatchBuilder } from "../src/batch/builder.ts";
import { LmdbFile } from "../src/log/lmdb-file.ts";
import { batchesOf } from "../src/log/keyed-reader.ts";
import { LogReader, type Places } from "../src/log/reader.ts";
import { requests } from "../src/log/requests.ts";
import type { LogRequests } from "../src/log/protocol.ts";
import { LogStore } from "../src/log/store.ts";
import type { AppendBatch } from "../src/log/types.ts";

const { values: options } = parseArgs({
  options: {
    dir: { type: "string", default: tmpdir() },
    slices: { type: "string", default: "10" },
    drivers: { type: "string", default: "10000" },
    records: { type: "string", default: "8" },
    partitions: { type: "string", default: "16" },
    key: { type: "string", default: "driver" },
  },
});
const slices = Number(options.slices);
const drivers = Number(options.drivers);
const perBatch = Number(options.records);
const partitions = Number(options.partitions);
const topic = "positions";
const mb = 1024 * 1024;
const LOOK_UPS = 50;
const CALL_BYTES = mb;
const OPEN_BYTES = 160 * mb;

const builder = new BatchBuilder();
const ids = Array.from({ length: drivers }, (_, i) => `drv-${String(i).padStart(6, "0")}`);
/** Per partition: its drivers, in the order of this round, and who is next. */
const turns = Array.from({ length: partitions }, (_, p) => {
  return { order: ids.map((_, i) => i).filter((i) => i % partitions === p), next: 0 };
});
let seed = 1;
let logThreadMs = 0;
let logThreadMaxMs = 0;
let ts = Date.parse("2026-01-01");

const dir = mkdtempSync(join(options.dir, "key-index-bench-"));
try {
  const log = (line: string): void => console.error(line);
  const store = LogStore.open({ dir, diskMin: 0, now: Date.now(), log, durability: "logged" });
  const reader = readerOf(store);
  store.createTopic(topic, partitions, {
    "milepost.from": "position",
    "milepost.key": options.key,
    "max.message.bytes": String(16 * mb),
  });
  for (let n = 1; n <= slices; n++) {
    // the last one is learnt while it fills, as in a node that keeps up
    fill(store, n, n === slices);
    sealing(store);
  }
  print("file", sizes());
  await lookUps(store, reader, "sealed slices", store.describe(topic)[0].end);
  const sealedEnd = store.describe(topic)[0].end;
  while (store.topic(topic).open.bytes < OPEN_BYTES) appendRound(store);
  await lookUps(store, reader, "open slice, not learnt", Infinity, sealedEnd);
  learn(store);
  await lookUps(store, reader, "open slice, learnt", Infinity, sealedEnd);
  reader.close();
  store.close();
} finally {
  rmSync(dir, { recursive: true });
}

/** Appends until a slice is complete. */
function fill(store: LogStore, until: number, learning: boolean): void {
  const bytes = (): number => store.metrics().topics[0].bytes;
  const before = bytes();
  const began = process.cpuUsage();
  while (store.metrics().slices <= until) {
    appendRound(store);
    if (learning) store.tick(ts);
  }
  const grown = (bytes() - before) / mb;
  print(learning ? "append and learn" : "append", {
    MB: Math.round(grown),
    "CPU ms/MB": round(cpuMs(began) / grown),
  });
}

function appendRound(store: LogStore): void {
  for (let i = 0; i < 32; i++) {
    const batches = turns.map((_, p) => nextBatch(p));
    store.append(batches, ts);
    for (const b of batches) if (b.error !== null) throw new Error(b.error);
  }
}

/** Steps of the background until nothing is left to seal; what each took. */
function sealing(store: LogStore): void {
  const began = process.cpuUsage();
  const started = performance.now();
  const steps: number[] = [];
  while (store.topic(topic).slices.some(({ row }) => row.state === "rolled")) {
    const from = performance.now();
    store.tick(ts);
    steps.push(performance.now() - from);
  }
  const size = store.topic(topic).slices.at(-2)?.bytes ?? 0;
  steps.sort((a, b) => a - b);
  print("seal", {
    MB: Math.round(size / mb),
    ms: Math.round(performance.now() - started),
    "CPU ms": Math.round(cpuMs(began)),
    "CPU ms/MB": round(cpuMs(began) / (size / mb)),
    steps: steps.length,
    "p50 ms": round(steps[steps.length >> 1]),
    "max ms": round(steps.at(-1) ?? 0),
  });
}

/** What the open slice holds; a tick takes a few milliseconds. */
function learn(store: LogStore): void {
  const began = process.cpuUsage();
  for (let i = 0; i < 1000; i++) store.tick(ts);
  const size = store.topic(topic).open.bytes / mb;
  print("learn", { MB: Math.round(size), "CPU ms/MB": round(cpuMs(began) / size) });
}

/** Of the store in this thread: what the log thread would do is done, and measured, here. */
function readerOf(store: LogStore): LogReader {
  const call = async (_op: "locate", ...args: LogRequests["locate"][0]) => {
    const started = performance.now();
    const step = requests.locate(store, args).next();
    const answer = structuredClone(step.value);
    const ms = performance.now() - started;
    logThreadMs += ms;
    logThreadMaxMs = Math.max(logThreadMaxMs, ms);
    return answer;
  };
  const log = { call, onForgotten: (tell: (path: string) => void) => store.onForgotten(tell) };
  return new LogReader(log as Places);
}

async function lookUps(
  store: LogStore,
  reader: LogReader,
  what: string,
  to: number,
  from = 0,
): Promise<void> {
  const times: number[] = [];
  const began = process.cpuUsage();
  logThreadMs = logThreadMaxMs = 0;
  let batches = 0;
  let bytes = 0;
  for (let i = 0; i < LOOK_UPS; i++) {
    const driver = Math.floor(random() * drivers);
    const started = performance.now();
    const partition = driver % partitions;
    const end = Math.min(to, store.watermark(topic, partition).highWatermark);
    for (let at = from; at < end;) {
      const key = Buffer.from(ids[driver]);
      const read = await batchesOf(reader, topic, partition, key, at, end, CALL_BYTES);
      at = read.next;
      batches += read.batches.length;
      for (const batch of read.batches) bytes += batch.byteLength;
    }
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  print(`look-up, ${what}`, {
    "CPU ms": round(cpuMs(began) / LOOK_UPS),
    "p50 ms": round(times[times.length >> 1]),
    "of it in the log thread, ms": round(logThreadMs / LOOK_UPS),
    "at once, max ms": round(logThreadMaxMs),
    batches: Math.round(batches / LOOK_UPS),
    MB: round(bytes / LOOK_UPS / mb),
  });
}

function nextBatch(partition: number): AppendBatch {
  const turn = turns[partition];
  for (let i = 0; i < perBatch; i++) {
    if (turn.next === turn.order.length) {
      shuffle(turn.order);
      turn.next = 0;
      ts += partition === 0 ? 1000 : 0;
    }
    const id = ids[turn.order[turn.next++]];
    const lat = (12.8 + random() / 3).toFixed(6);
    const lon = (77.4 + random() / 3).toFixed(6);
    const speed = (random() * 20).toFixed(1);
    const ping = `{"id":"${id}","ts":${ts},"lat":${lat},"lon":${lon},"speed":${speed}}`;
    const value = Buffer.from(ping);
    builder.append(Buffer.from(id), 0, id.length, value, 0, value.length, ts, null);
  }
  const bytes = new Uint8Array(builder.seal());
  builder.copyTo(bytes, 0);
  builder.reset();
  return { topic, partition, bytes, baseOffset: -1, error: null };
}

function shuffle(order: number[]): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
}

function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 32;
}

/** Of the oldest slice, by kind of key, in percent of its batches. */
function sizes() {
  const name = readdirSync(join(dir, "topics"))[0];
  const [file] = readdirSync(join(dir, "topics", name)).sort();
  const bytes = [0, 0, 0, 0, 0];
  const lmdb = new LmdbFile(join(dir, "topics", name, file));
  for (const { key, value } of lmdb.entries(() => {})) bytes[key[0]] += value.byteLength;
  lmdb.close();
  const percent = (kind: number): number => round((bytes[kind] / bytes[2]) * 100);
  return { MB: Math.round(bytes[2] / mb), "table %": percent(3), "keys %": percent(4) };
}

function cpuMs(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1000;
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

function print(what: string, row: Record<string, unknown>): void {
  const cells = Object.entries(row).map(([name, value]) => `${name} ${value}`);
  console.log(`${what}: ${cells.join("  ")}`);
}
