/** The threads of a node, as they are started; each but the log thread has a port to that one. */
import { MessageChannel, type Worker } from "node:worker_threads";
import type { ServeOptions } from "../config/options.ts";
import { startThread } from "../lib/thread.ts";
import type { Broker } from "../listeners/broker/broker.ts";
import type { ClaimRegistry } from "../listeners/claims.ts";
import type { LogThreadOptions, ToLogThread } from "../log/protocol.ts";
import { MilepostError } from "../model/errors.ts";
import type { FromIngest, IngestOptions } from "./ingest.ts";
import type { FromKafka, KafkaOptions } from "./kafka.ts";
import type { FromLive, LiveThreadOptions } from "./live.ts";
import type { FromUplink, UplinkThreadOptions } from "./uplink.ts";

/** One node leads and replicates everything itself. */
export const NODE = 1;

/** The young generation holds a few turns of sockets' work: fewer, cheaper collections. */
const INGEST_YOUNG_MB = 64;

export function startLogThread(options: ServeOptions): Worker {
  const { dataDir: dir, diskMin } = options;
  // what the cluster acknowledged is on this disk too: its place in the log stays true
  const durability = options.durability === "mirrored" ? "flushed" : options.durability;
  const uplink = options.uplink === null ? null : { mirrored: options.durability === "mirrored" };
  const workerData: LogThreadOptions = { dir, diskMin, durability, uplink, now: Date.now() };
  return startThread(new URL("../log/thread.ts", import.meta.url), { workerData, name: "log" });
}

export function clientPort(logThread: Worker) {
  const { port1, port2 } = new MessageChannel();
  logThread.postMessage({ client: port2 } satisfies ToLogThread, [port2]);
  return port1;
}

export function startIngest(
  worker: number,
  options: ServeOptions,
  mqttPort: number,
  devicePort: number,
  to: { logThread: Worker; broker: Broker; claims: ClaimRegistry },
): { worker: Worker; ready: Promise<{ mqtt: number; device: number }> } {
  const producer = new MessageChannel();
  const broker = new MessageChannel();
  const claims = new MessageChannel();
  const log = clientPort(to.logThread);
  const forLog: ToLogThread = { producer: producer.port2 };
  to.logThread.postMessage(forLog, [producer.port2]);
  to.broker.attachWorker(broker.port1);
  to.claims.addWorker(claims.port1);
  const workerData: IngestOptions = {
    worker,
    workers: options.workers,
    host: options.host,
    mqttPort,
    devicePort,
    allowOrigin: options.allowOrigin,
    placesKnown: options.uplink === null || options.durability === "mirrored",
    producer: producer.port1,
    log,
    broker: broker.port2,
    claims: claims.port2,
  };
  const thread = startThread(new URL("./ingest.ts", import.meta.url), {
    workerData,
    transferList: [producer.port1, log, broker.port2, claims.port2],
    resourceLimits: { maxYoungGenerationSizeMb: INGEST_YOUNG_MB },
    name: `ingest-${worker}`,
  });
  const ready = new Promise<{ mqtt: number; device: number }>((resolve) => {
    thread.on("message", (m: FromIngest) => "ready" in m && resolve(m.ready));
  });
  return { worker: thread, ready };
}

export function startKafka(
  { host, advertise, dataDir }: ServeOptions,
  port: number,
  logThread: Worker,
  report: (line: string) => void,
): { worker: Worker; ready: Promise<number> } {
  const log = clientPort(logThread);
  const workerData: KafkaOptions = { host, port, advertise, nodeId: NODE, dataDir, log };
  const worker = startThread(new URL("./kafka.ts", import.meta.url), {
    workerData,
    transferList: [log],
    name: "kafka",
  });
  return { worker, ready: reporting(worker, report) };
}

export function startLive(
  { host, allowOrigin, staleMs, dataDir, uplink }: ServeOptions,
  port: number,
  logThread: Worker,
  report: (line: string) => void,
): { worker: Worker; ready: Promise<number> } {
  const log = clientPort(logThread);
  const workerData: LiveThreadOptions = { host, port, allowOrigin, staleMs, dataDir, uplink, log };
  const worker = startThread(new URL("./live.ts", import.meta.url), {
    workerData,
    transferList: [log],
    name: "live",
  });
  return { worker, ready: reporting(worker, report) };
}

/** Hands on a thread's lines; resolves with its port when it is ready. */
function reporting(worker: Worker, report: (line: string) => void): Promise<number> {
  return new Promise((resolve) => {
    worker.on("message", (m: FromKafka | FromLive) => {
      if ("line" in m) report(m.line);
      if ("ready" in m) resolve(m.ready.port);
    });
  });
}

/** Resolves when the topics are there, and rejects when they cannot be. */
export function startUplink(
  { dataDir, regions }: ServeOptions,
  brokers: string[],
  logThread: Worker,
  report: (line: string) => void,
): { worker: Worker; ready: Promise<void> } {
  const log = clientPort(logThread);
  const workerData: UplinkThreadOptions = { brokers, dataDir, regions, log };
  const worker = startThread(new URL("./uplink.ts", import.meta.url), {
    workerData,
    transferList: [log],
    name: "uplink",
  });
  const ready = new Promise<void>((resolve, reject) => {
    worker.on("message", (m: FromUplink) => {
      if ("line" in m) report(m.line);
      if ("ready" in m) resolve();
      if ("failed" in m) reject(new MilepostError("uplink", m.failed));
    });
  });
  return { worker, ready };
}
