/** Runs a worker until it is told to stop: what the sinks share. */
import { constants, setPriority } from "node:os";
import type { BaseOptions } from "@platformatic/kafka";
import { startSinkAdmin } from "../sinks/admin.ts";
import { Progress } from "../sinks/progress.ts";
import type { Target } from "../sinks/target.ts";
import { Worker } from "../sinks/worker.ts";
import { clientOptions } from "./kafka-client.ts";
import type { SinkFlags } from "./sink.ts";
import { count, progressLine } from "./terminal.ts";

/** Off a terminal a line now and then. */
const lineEveryMs = 60_000;
const redrawMs = 500;
const lastMs = 1000;

export async function runSink(flags: SinkFlags, target: Target): Promise<void> {
  // far behind, it takes all the processor it gets: a gateway on the same machine comes first
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const { group, topics } = flags;
  const progress = new Progress();
  const kafka = sinkClient(flags);
  const worker = new Worker({ kafka, group, topics, target, progress, say });
  let stoppedMs: number | null = null;
  const stop = (): void => {
    // the second Ctrl-C waits for nobody; a launcher may pass on the first one once more
    if (stoppedMs !== null && performance.now() - stoppedMs > 500) process.exit(1);
    stoppedMs ??= performance.now();
    worker.stop();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  const { adminPort } = flags;
  const admin = adminPort === undefined ? null : await startSinkAdmin(adminPort, progress);
  if (admin !== null) say(`metrics on http://127.0.0.1:${admin.port}/metrics`);
  const stopShowing = show(progress, group);
  try {
    await worker.run();
  } finally {
    stopShowing();
    await admin?.close();
    for (const signal of signals) process.off(signal, stop);
    // a connection to what does not answer would keep the process
    setTimeout(() => process.exit(), lastMs).unref();
  }
  say(`${group}: stopped; ${summary(progress)}`);
}

export function sinkClient({ server }: SinkFlags): BaseOptions {
  return { ...clientOptions(server), clientId: "milepost-sink" };
}

export function say(line: string): void {
  progressLine("");
  process.stderr.write(`milepost: ${line}\n`);
}

function show(progress: Progress, group: string): () => void {
  let rows = 0;
  let atMs = performance.now();
  const everyMs = process.stderr.isTTY ? redrawMs : lineEveryMs;
  const timer = setInterval(() => {
    const nowMs = performance.now();
    const perSecond = Math.round(((progress.rows - rows) * 1000) / (nowMs - atMs));
    const rate = `${count(perSecond)} rows/s, lag ${count(progress.lag)}`;
    const line = `${group}: ${summary(progress)}, ${rate}`;
    if (process.stderr.isTTY) progressLine(line);
    else if (progress.rows !== rows || progress.lag > 0) say(line);
    rows = progress.rows;
    atMs = nowMs;
  }, everyMs);
  return () => {
    clearInterval(timer);
    progressLine("");
  };
}

function summary(progress: Progress): string {
  const dead = progress.deadLettered === 0 ? "" : `, ${count(progress.deadLettered)} dead letters`;
  return `${count(progress.rows)} rows from ${progress.partitions} partitions${dead}`;
}
