/**
 * The thread of live tracking: last positions, who follows them, riders' sockets, REST and the map.
 * It reads the log like any consumer and is never waited for.
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { Live } from "../live/live.ts";
import { logOrigin, type Origin } from "../live/origin.ts";
import { LogPort } from "../log/client.ts";
import { LogReader } from "../log/reader.ts";
import { watchThread } from "../metrics/process.ts";
import { Registry, type MetricSnapshot } from "../metrics/registry.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { startRiders } from "../riders/server.ts";

export type LiveThreadOptions = {
  host: string;
  port: number;
  allowOrigin: string[];
  staleMs: number;
  dataDir: string;
  /** Brokers of the cluster whose topics are followed; null: this gateway's own. */
  uplink: string[] | null;
  /** To the log thread. */
  log: MessagePort;
};
export type ToLive = { metrics: number } | { drain: true } | { close: true };
export type FromLive =
  | { ready: { port: number } }
  | { line: string }
  | { metrics: number; snapshot: MetricSnapshot[] }
  | { drained: true }
  | { closed: true };

const options = workerData as LiveThreadOptions;
const parent = parentPort as NonNullable<typeof parentPort>;
const tell = (m: FromLive): void => parent.postMessage(m);

const registry = new Registry();
watchThread(registry, "live");
const log = new LogPort(options.log, partitionOf);
await log.ready();
const reader = new LogReader(log);
const { host, port, allowOrigin, staleMs, dataDir, uplink } = options;
const report = (line: string): void => tell({ line });
const origin = await originOf();
const live = await Live.open({ origin, dataDir, staleMs, registry, report, now: Date.now });
const services = { live, registry, report, allowOrigin };
const riders = await startRiders({ ...services, host, port, dataDir });

// after a fault too: uWebSockets.js aborts the process when its thread ends with sockets open
process.on("exit", () => riders.close());

parent.on("message", (m: ToLive) => {
  if ("metrics" in m) tell({ metrics: m.metrics, snapshot: registry.snapshot() });
  else if ("drain" in m) void riders.drain().then(() => tell({ drained: true }));
  else void close();
});
tell({ ready: { port: riders.port } });

/** Kafka's client takes a second of processor time to load: who has no uplink is spared that. */
async function originOf(): Promise<Origin> {
  if (uplink === null) return logOrigin(log, reader, report);
  const { clusterOrigin } = await import("../live/cluster-origin.ts");
  return clusterOrigin(uplink, Date.now, report);
}

async function close(): Promise<void> {
  riders.close();
  await live.close();
  reader.close();
  tell({ closed: true });
  options.log.close();
  parent.close();
}
