/**
 * The Kafka thread: client connections, consumer groups, reads from LMDB. It never writes there:
 * what is produced goes to the log thread.
 */
import { setTimeout } from "node:timers/promises";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { GroupCoordinator } from "../groups/coordinator.ts";
import { handlers } from "../kafka/apis.ts";
import { KafkaServer } from "../kafka/server.ts";
import type { Services } from "../kafka/services.ts";
import { Waits } from "../kafka/waits.ts";
import { BufferPool } from "../lib/buffer-pool.ts";
import { LogPort } from "../log/client.ts";
import { LogReader } from "../log/reader.ts";
import { watchThread } from "../metrics/process.ts";
import { Registry, type MetricSnapshot } from "../metrics/registry.ts";
import { connectionShares } from "../model/connection-shares.ts";
import { limits } from "../model/limits.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { GroupsDesk, type AskGroups, type GroupsAnswer } from "./group-requests.ts";

export type KafkaOptions = {
  host: string;
  port: number;
  advertise: string | null;
  nodeId: number;
  dataDir: string;
  /** To the log thread. */
  log: MessagePort;
};
export type ToKafka = { metrics: number } | AskGroups | { drain: true } | { close: true };
export type FromKafka =
  | { ready: { port: number } }
  | { line: string }
  | { metrics: number; snapshot: MetricSnapshot[] }
  | GroupsAnswer
  | { drained: true }
  | { closed: true };

const options = workerData as KafkaOptions;
const parent = parentPort as NonNullable<typeof parentPort>;
const tell = (m: FromKafka): void => parent.postMessage(m);

const registry = new Registry();
watchThread(registry, "kafka");
const log = new LogPort(options.log, partitionOf);
await log.ready();
const report = (line: string): void => tell({ line });
const reader = new LogReader(log);
const groups = new GroupCoordinator({ log, reader, registry, report, now: Date.now });
const services: Services = {
  nodeId: options.nodeId,
  clusterId: log.node.id,
  dataDir: options.dataDir,
  log,
  reader,
  waits: new Waits(log),
  buffers: new BufferPool(limits.kafkaFreeBytesMax),
  groups,
  registry,
  report,
  now: Date.now,
};
const desk = new GroupsDesk(groups.operator, log, services.reader, services.now);
// clients that come right after a start find their groups, unless there is very much of them
await Promise.race([groups.loaded, setTimeout(limits.groupLoadMsMax, undefined, { ref: false })]);
const { host, port, advertise } = options;
const connectionsMax = connectionShares().kafka;
const listen = { host, port, advertise, connectionsMax };
const server = await KafkaServer.listen(services, handlers, listen);

parent.on("message", (m: ToKafka) => {
  if ("metrics" in m) void measure(m.metrics);
  else if ("groups" in m) void desk.answer(m).then(tell);
  else if ("drain" in m) void drain();
  else close();
});
tell({ ready: { port: server.port } });

async function measure(metrics: number): Promise<void> {
  // a log that has stopped says nothing of lag
  await groups.measure().catch(() => {});
  tell({ metrics, snapshot: registry.snapshot() });
}

async function drain(): Promise<void> {
  groups.stop();
  await server.drain();
  tell({ drained: true });
}

function close(): void {
  groups.stop();
  server.close();
  services.reader.close();
  tell({ closed: true });
  options.log.close();
  parent.close();
}
