/**
 * The log by itself: CPU per commit, size of the file and bytes written against live bytes; and
 * with `--turnovers`, whether retention keeps the append as fast as it began.
 *
 *     node load/log-bench.ts [--dir D] [--commits 5000] [--batch-bytes 1500] [--partitions 16]
 *         [--durability flushed]
 *     node load/log-bench.ts --turnovers 5 --log-mb 300 --batch-bytes 8192
 */
import { setImmediate } from "node:timers/promises";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { BatchBuilder } from "../src/batch/builder.ts";
import { LogStore } from "../src/log/store.ts";
import type { AppendBatch } from "../src/log/types.ts";

const { values: options } = parseArgs({
  options: {
    dir: { type: "string", default: tmpdir() },
    commits: { type: "string", default: "5000" },
    "batch-bytes": { type: "string", default: "1500" },
    partitions: { type: "string", default: "16" },
    durability: { type: "string", default: "flushed" },
    turnovers: { type: "string" },
    "log-mb": { type: "string", default: "300" },
  },
});
const partitions = Number(options.partitions);
const batchBytes = Number(options["batch-bytes"]);
const mb = 1024 * 1024;
const topic = "bench";
const TICK_MS = 100;

const dir = mkdtempSync(join(options.dir, "log-bench-"));
try {
  if (options.turnovers === undefined) commits(Number(options.commits));
  else await turnovers(Number(options.turnovers), Number(options["log-mb"]));
} finally {
  rmSync(dir, { recursive: true });
}

function commits(count: number): void {
  const store = open({});
  const batches = newBatches();
  for (let i = 0; i < 200; i++) append(store, batches);
  const times = new Float64Array(count);
  const written = writtenBytes();
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let i = 0; i < count; i++) times[i] = append(store, batches);
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const wrote = writtenBytes() - written;
  store.close();
  const live = count * partitions * batchBytes;
  print({
    commits: count,
    batches: `${partitions} x ${batchBytes}`,
    "commits/s": Math.round(count / seconds),
    "MB/s": round(live / mb / seconds),
    "CPU us/commit": Math.round((user + system) / count),
    ...percentiles(times),
    "file/live": round(diskBytes() / (live * (1 + 200 / count))),
    "written/live": round(wrote / live),
  });
}

async function turnovers(rounds: number, logMb: number): Promise<void> {
  const retention = Math.floor((logMb * mb) / partitions);
  const store = open({ "retention.bytes": String(retention) });
  const batches = newBatches();
  const perTurnover = Math.ceil((logMb * mb) / (partitions * batchBytes));
  let ticked = performance.now();
  for (let round_ = 1; round_ <= rounds + 1; round_++) {
    const times = new Float64Array(perTurnover);
    const written = writtenBytes();
    let disk = 0;
    for (let i = 0; i < perTurnover; i++) {
      times[i] = append(store, batches);
      if (performance.now() - ticked < TICK_MS) continue;
      ticked = performance.now();
      store.tick(Date.now());
      // files are deleted beside the thread: their ends are heard of in a turn of the loop
      await setImmediate();
      disk = Math.max(disk, diskBytes());
    }
    const live = store.metrics().topics[0].bytes;
    print({
      turnover: round_ === 1 ? "fill" : round_ - 1,
      ...percentiles(times),
      "live MB": Math.round(live / mb),
      "disk/live": round(diskBytes() / live),
      "disk max/kept": round(disk / (logMb * mb)),
      "written/live": round((writtenBytes() - written) / (perTurnover * partitions * batchBytes)),
      slices: store.metrics().slices,
    });
  }
  store.close();
}

function open(config: Record<string, string>): LogStore {
  const log = (line: string): void => console.error(line);
  const store = LogStore.open({ dir, diskMin: 0, now: Date.now(), log });
  store.createTopic(topic, partitions, {
    "milepost.durability": options.durability,
    "max.message.bytes": String(16 * mb),
    ...config,
  });
  return store;
}

function newBatches(): AppendBatch[] {
  const builder = new BatchBuilder();
  const value = Buffer.alloc(batchBytes - 61 - 12, 0x61);
  builder.append(Buffer.from("k"), 0, 1, value, 0, value.length, Date.now(), null);
  const bytes = new Uint8Array(builder.seal());
  builder.copyTo(bytes, 0);
  const batches: AppendBatch[] = [];
  for (let partition = 0; partition < partitions; partition++) {
    batches.push({ topic, partition, bytes: bytes.slice(), baseOffset: -1, error: null });
  }
  return batches;
}

/** Milliseconds of one group commit. */
function append(store: LogStore, batches: AppendBatch[]): number {
  const began = performance.now();
  store.append(batches, Date.now());
  const took = performance.now() - began;
  for (const b of batches) if (b.error !== null) throw new Error(b.error);
  return took;
}

function percentiles(times: Float64Array) {
  times.sort();
  const at = (share: number): number => round(times[Math.floor((times.length - 1) * share)]);
  return { "p50 ms": at(0.5), "p99 ms": at(0.99), "max ms": at(1) };
}

function writtenBytes(): number {
  const io = readFileSync("/proc/self/io", "utf8");
  return Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? NaN);
}

function diskBytes(): number {
  let total = 0;
  for (const entry of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    const stat = statSync(join(dir, entry), { throwIfNoEntry: false });
    if (stat?.isFile() && !entry.endsWith("-lock")) total += stat.blocks * 512;
  }
  return total;
}

function round(n: number): number {
  return Math.round(n * 100) / 100;
}

function print(row: Record<string, unknown>): void {
  console.log(
    Object.entries(row)
      .map(([k, v]) => `${k} ${v}`)
      .join("  "),
  );
}
