/**
 * The node: starts the threads in the order of the data, stops them against it. The main thread
 * owns configuration, life cycle, the admin port and the MQTT broker; no ping passes through it.
 *
 * A thread that dies takes the process with it: `exited` resolves to 1, and nothing is
 * acknowledged after that.
 */
import type { Worker } from "node:worker_threads";
import { startAdmin } from "../admin/server.ts";
import type { ServeOptions } from "../config/options.ts";
import { Broker } from "../listeners/broker/broker.ts";
import { ClaimRegistry } from "../listeners/claims.ts";
import { LogPort } from "../log/client.ts";
import type { FromLogThread, ToLogThread } from "../log/protocol.ts";
import { watchProcess, watchThread } from "../metrics/process.ts";
import { Registry, type MetricSnapshot } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { builtInTopics } from "../model/topic-config.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { version } from "../version.ts";
import { NodeBackend } from "./backend.ts";
import { GroupsPort } from "./group-requests.ts";
import type { FromIngest, ToIngest } from "./ingest.ts";
import { lockDirectory } from "./lock.ts";
import { probePort } from "./ports.ts";
import {
  clientPort,
  NODE,
  startIngest,
  startKafka,
  startLive,
  startLogThread,
  startUplink,
} from "./threads.ts";
import { UplinkStatus } from "./uplink-status.ts";

export type Ready = {
  node: number;
  mqtt: number;
  device: number;
  http: number | null;
  kafka: number | null;
  admin: number;
  cluster: number | null;
  pid: number;
};
export type RunningNode = { ready: Ready; stop(): Promise<void>; exited: Promise<number> };

/** After a thread has failed, the others close their sockets within this. */
const FAILED_CLOSE_MS = 300;

/** Ports to listen on; null where nobody does. */
type Asked = {
  mqtt: number;
  device: number;
  http: number | null;
  kafka: number | null;
  admin: number;
};

export async function startNode(options: ServeOptions): Promise<RunningNode> {
  const lock = await lockDirectory(options.dataDir);
  const asked = await probePorts(options);
  /** All but the log thread. */
  const threads: Worker[] = [];
  try {
    return await startThreads(options, asked, lock, threads);
  } catch (error) {
    for (const thread of threads) thread.postMessage({ close: true } satisfies ToIngest);
    await sleep(FAILED_CLOSE_MS);
    throw error;
  }
}

/** Of ports that are named, whether they can be had, before anything is started. */
async function probePorts(options: ServeOptions): Promise<Asked> {
  const { host, adminHost } = options;
  const named = (what: string, on: string, port: number): Promise<number> =>
    port === 0 ? Promise.resolve(0) : probePort(what, on, port);
  return {
    mqtt: await named("mqtt", host, options.mqttPort),
    device: await named("device", host, options.devicePort),
    // consumers attach to the cluster behind an uplink
    kafka: options.uplink === null ? await named("kafka", host, options.kafkaPort) : null,
    http: options.live ? await named("http", host, options.httpPort) : null,
    admin: await named("admin", adminHost, options.adminPort),
  };
}

async function startThreads(
  options: ServeOptions,
  asked: Asked,
  lock: { release(): void },
  threads: Worker[],
): Promise<RunningNode> {
  const report = (line: string): void => {
    process.stderr.write(`milepost: ${line}\n`);
  };
  let exit: (code: number) => void = () => {};
  const exited = new Promise<number>((resolve) => (exit = resolve));
  let stopping = false;
  // uWebSockets.js aborts a process that ends with its sockets open: they are closed first
  const fail = (): void => {
    for (const thread of threads) thread.postMessage({ close: true } satisfies ToIngest);
    setTimeout(exit, FAILED_CLOSE_MS, 1);
  };
  const watch = (name: string, worker: Worker): Worker => {
    worker.on("error", (error) => {
      process.stderr.write(`milepost: the ${name} thread failed: ${error.stack ?? error}\n`);
      fail();
    });
    worker.on("exit", () => {
      if (!stopping) fail();
    });
    return worker;
  };

  const logThread = watch("log", startLogThread(options));
  await logReady(logThread, exited);
  const log = new LogPort(clientPort(logThread), partitionOf);
  await log.ready();
  let uplink: UplinkStatus | null = null;
  if (options.uplink !== null) {
    const up = startUplink(options, options.uplink, logThread, report);
    uplink = new UplinkStatus(watch("uplink", up.worker), options.durability === "mirrored");
    threads.push(up.worker);
    await Promise.race([up.ready, threadFailed(exited)]);
  }
  await createBuiltIns(log, options);

  const registry = new Registry();
  watchProcess(registry, version);
  watchThread(registry, "main");
  const ingest: Worker[] = [];
  const broker = await Broker.open({
    log,
    uplink: options.uplink,
    now: Date.now,
    registry,
    report,
    ingestWill: (topic, payload) => {
      ingest[0]?.postMessage({ will: { topic, payload } } satisfies ToIngest);
    },
  });
  const claims = new ClaimRegistry((clientId) => broker.hasSession(clientId));
  let { mqtt, device, http } = asked;
  // a port of 0 is chosen where it is bound, so that nobody takes it between; but workers share
  // theirs, and one that uWS chooses cannot be bound again soon
  if (mqtt === 0 && options.workers > 1) mqtt = await probePort("mqtt", options.host, 0);
  if (device === 0) device = await probePort("device", options.host, 0);
  if (http === 0) http = await probePort("http", options.host, 0);
  // all at once: each takes a while to load
  const kafka = asked.kafka === null ? null : startKafka(options, asked.kafka, logThread, report);
  if (kafka !== null) threads.push(watch("kafka", kafka.worker));
  const live = http === null ? null : startLive(options, http, logThread, report);
  if (live !== null) threads.push(watch("live", live.worker));
  for (let i = 0; i < options.workers; i++) {
    const to = { logThread, broker, claims };
    const { worker, ready } = startIngest(i, options, mqtt, device, to);
    ingest.push(worker);
    threads.push(watch(`ingest-${i}`, worker));
    ({ mqtt, device } = await Promise.race([ready, threadFailed(exited)]));
  }
  const kafkaPort = kafka === null ? null : await Promise.race([kafka.ready, threadFailed(exited)]);
  const groups = kafka === null ? null : new GroupsPort(kafka.worker);
  if (live !== null) http = await Promise.race([live.ready, threadFailed(exited)]);
  const scraped = (): Promise<MetricSnapshot[][]> => snapshots(registry, threads);
  const backend = new NodeBackend({ log, broker, groups, uplink, snapshots: scraped, report });
  const admin = await startAdmin({ host: options.adminHost, port: asked.admin }, backend);

  const ready: Ready = {
    node: NODE,
    mqtt,
    device,
    http,
    kafka: kafkaPort,
    admin: admin.port,
    cluster: null,
    pid: process.pid,
  };

  const stop = async (): Promise<void> => {
    stopping = true;
    backend.draining = true;
    // a disk that hangs keeps no supervisor waiting: what is unwritten was not acknowledged
    const late = setTimeout(() => {
      process.stderr.write("milepost: not stopped in time; the next start recovers\n");
      exit(1);
    }, limits.stopMsMax);
    // what waits for the cluster is answered yet: the way up stops last
    const others = threads.filter((w) => w !== uplink?.worker);
    const drained = others.map((w) => answer(w, "drained", { drain: true }));
    const drainMs = uplink?.check.ok === false ? limits.uplinkDrainMsMax : limits.drainMsMax;
    await Promise.race([Promise.all(drained), sleep(drainMs), exited]);
    await Promise.race([broker.close(), exited]);
    await Promise.race([
      Promise.all(others.map((w) => answer(w, "closed", { close: true }))),
      sleep(2000),
      exited,
    ]);
    if (uplink !== null) {
      const closed = answer(uplink.worker, "closed", { close: true });
      await Promise.race([closed, sleep(limits.uplinkStopMsMax * 2), exited]);
    }
    await admin.close();
    await new Promise<void>((resolve) => {
      logThread.on("message", (m: FromLogThread) => "stopped" in m && resolve());
      logThread.postMessage({ stop: true } satisfies ToLogThread);
      void exited.then(() => resolve());
    });
    clearTimeout(late);
    lock.release();
    exit(0);
  };
  return { ready, stop, exited };
}

/** What recovery cut is said on stderr; everything else of it is silent. */
function logReady(thread: Worker, exited: Promise<number>): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.on("message", (m: FromLogThread) => {
      if ("line" in m) process.stderr.write(`milepost: ${m.line}\n`);
      if ("ready" in m) resolve();
    });
    void exited.then(() => reject(new Error("the log could not be opened")));
  });
}

/**
 * Settings of a built-in topic that exists stay as its operator left them. With an uplink all but
 * the node's own are there already, as the cluster has them.
 */
async function createBuiltIns(log: LogPort, { regions }: ServeOptions): Promise<void> {
  const have = new Set(log.topics().map((t) => t.name));
  for (const { name, partitions, config } of builtInTopics) {
    if (have.has(name) || (name === "positions-by-cell" && !regions)) continue;
    await log.call("createTopic", name, partitions, config);
  }
}

const threadFailed = (exited: Promise<number>): Promise<never> =>
  exited.then(() => Promise.reject(new Error("a thread failed")));

/** Sends `m` and waits for the message that has `field`. */
function answer(worker: Worker, field: "drained" | "closed", m: ToIngest): Promise<void> {
  return new Promise((resolve) => {
    worker.on("message", (answered: FromIngest) => field in answered && resolve());
    worker.postMessage(m);
  });
}

let scrape = 0;

/** Every thread's metrics; a thread that is too busy to answer within 2 s is left out. */
async function snapshots(registry: Registry, workers: Worker[]): Promise<MetricSnapshot[][]> {
  const id = ++scrape;
  const all = workers.map(
    (worker) =>
      new Promise<MetricSnapshot[]>((resolve) => {
        const take = (m: FromIngest): void => {
          if (!("metrics" in m) || m.metrics !== id) return;
          worker.off("message", take);
          resolve(m.snapshot);
        };
        worker.on("message", take);
        worker.postMessage({ metrics: id } satisfies ToIngest);
        setTimeout(() => {
          worker.off("message", take);
          resolve([]);
        }, 2000).unref();
      }),
  );
  return [registry.snapshot(), ...(await Promise.all(all))];
}

const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
