/** The thread of the way up: it reads the log like any consumer and writes to the cluster. */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { LogPort } from "../log/client.ts";
import { LogReader } from "../log/reader.ts";
import { watchThread } from "../metrics/process.ts";
import { Registry, type MetricSnapshot } from "../metrics/registry.ts";
import { MilepostError } from "../model/errors.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { begin } from "../uplink/begin.ts";
import { countUplink } from "../uplink/metrics.ts";
import { StandingsFile } from "../uplink/standings-file.ts";
import { Target } from "../uplink/target.ts";
import { Uplink } from "../uplink/uplink.ts";

export type UplinkThreadOptions = {
  brokers: string[];
  dataDir: string;
  regions: boolean;
  /** To the log thread. */
  log: MessagePort;
};
export type ToUplink = { metrics: number } | { close: true };
export type FromUplink =
  /** Topics are there, on both sides or as they were. */
  | { ready: true }
  | { failed: string }
  | { line: string }
  /** Why what waits does not get to the cluster; empty: it does. */
  | { trouble: string }
  | { metrics: number; snapshot: MetricSnapshot[] }
  | { closed: true };

const options = workerData as UplinkThreadOptions;
const parent = parentPort as NonNullable<typeof parentPort>;
const tell = (m: FromUplink): void => parent.postMessage(m);
const report = (line: string): void => tell({ line });

const registry = new Registry();
watchThread(registry, "uplink");
const log = new LogPort(options.log, partitionOf);
await log.ready();
const reader = new LogReader(log);
const file = new StandingsFile(options.dataDir);
const target = new Target(options.brokers, `milepost-${log.node.id.slice(0, 8)}`);

try {
  const begun = await begin(log, target, file, options.regions, report);
  const uplink = new Uplink({
    log,
    reader,
    target,
    file,
    standings: begun.standings,
    home: begun.home,
    report,
    changed: (trouble) => tell({ trouble }),
  });
  countUplink(registry, uplink);
  await uplink.start(begun.view);
  parent.on("message", (m: ToUplink) => {
    if ("metrics" in m) tell({ metrics: m.metrics, snapshot: registry.snapshot() });
    else if ("close" in m) void close(uplink);
  });
  tell({ ready: true });
} catch (error) {
  if (!(error instanceof MilepostError)) throw error;
  tell({ failed: error.detail });
}

async function close(uplink: Uplink): Promise<void> {
  await uplink.stop();
  reader.close();
  tell({ closed: true });
  options.log.close();
  parent.close();
}
