/**
 * An ingest worker: device sockets on one side, the log on the other. The way of one ping:
 *
 *     socket → listeners/mqtt/connection (or websocket, http)   finds the payload
 *            → listeners/intake    reads it, chooses topics and partitions
 *            → log/producer        writes the record into the open batch of its partition
 *            ⇒ log thread          appends, flushes, answers the slab
 *            → log/producer        settles everyone who waited on it, in order
 *            → listeners/mqtt/acks one write per connection
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { Admission } from "../listeners/admission.ts";
import { BrokerLink } from "../listeners/broker/link.ts";
import { ClaimsPort } from "../listeners/claims.ts";
import { startDeviceApp } from "../listeners/device-app.ts";
import { WorkerIntake } from "../listeners/intake.ts";
import { MqttLane } from "../listeners/mqtt/lane.ts";
import { listenMqtt } from "../listeners/mqtt/server.ts";
import { openMqttOver } from "../listeners/mqtt/over-websocket.ts";
import { routesOf } from "../listeners/routes.ts";
import { LogPort } from "../log/client.ts";
import { clusterIsAway } from "../log/protocol.ts";
import { LogProducer } from "../log/producer.ts";
import { watchThread } from "../metrics/process.ts";
import { Registry, type MetricSnapshot } from "../metrics/registry.ts";
import { partitionOf } from "../partitions/murmur2.ts";

export type IngestOptions = {
  worker: number;
  workers: number;
  host: string;
  mqttPort: number;
  devicePort: number;
  allowOrigin: string[];
  /** An acknowledgement names where readers find the pings. */
  placesKnown: boolean;
  /** Ports to the log thread (slabs; requests) and to the main thread (broker; claims). */
  producer: MessagePort;
  log: MessagePort;
  broker: MessagePort;
  claims: MessagePort;
};
export type ToIngest =
  | { metrics: number }
  | { drain: true }
  | { close: true }
  /** A will on an ingest topic, to be taken like any other payload. */
  | { will: { topic: string; payload: Uint8Array } };
export type FromIngest =
  | { ready: { mqtt: number; device: number } }
  | { metrics: number; snapshot: MetricSnapshot[] }
  | { drained: true }
  | { closed: true };

const DRAIN_LOOK_MS = 20;

const options = workerData as IngestOptions;
const parent = parentPort as NonNullable<typeof parentPort>;
const tell = (m: FromIngest): void => parent.postMessage(m);

const registry = new Registry();
watchThread(registry, `ingest-${options.worker}`);

const producer = new LogProducer(options.producer, {
  onPause: () => lane.pause(),
  onResume: () => {
    lane.resume();
    intake.resumed();
  },
  onSettled: (openedMs) => {
    lane.acks.flush();
    intake.metrics.observe((Date.now() - openedMs) / 1000);
  },
});
const intake = new WorkerIntake(producer, registry, options.placesKnown);
const admission = new Admission(options.workers);
const log = new LogPort(options.log, partitionOf);
const claims = new ClaimsPort(options.claims);
const lane = new MqttLane(intake, producer, claims, new BrokerLink(options.broker), registry);

log.onTopics(() => {
  intake.routes = routesOf(log.topics());
});
log.onWritable(() => {
  const why = log.unwritable === clusterIsAway ? "uplink" : "disk_full";
  intake.unwritable = log.writable ? null : why;
});
const clock = setInterval(() => {
  lane.tick();
  producer.tick(Date.now());
}, 1000);

await log.ready();
const mqtt = await listenMqtt(lane, admission, options.host, options.mqttPort);
const device = await startDeviceApp({
  host: options.host,
  port: options.devicePort,
  intake,
  admission,
  claims,
  openMqtt: (io) => openMqttOver(lane, io),
  allowOrigin: options.allowOrigin,
  registry,
});
// after a fault too: uWebSockets.js aborts the process when its thread ends with sockets open
process.on("exit", () => device.close());

parent.on("message", (m: ToIngest) => {
  if ("metrics" in m) tell({ metrics: m.metrics, snapshot: registry.snapshot() });
  else if ("will" in m) lane.will(m.will.topic, Buffer.from(m.will.payload));
  else if ("drain" in m) void drain();
  else close();
});
tell({ ready: { mqtt: mqtt.port, device: device.port } });

/** No new connections, no new reads; what was taken is acknowledged. */
async function drain(): Promise<void> {
  mqtt.stopAccepting();
  device.stopAccepting();
  lane.drain();
  await device.drain("draining");
  intake.draining = true;
  while (!producer.idle) await new Promise((r) => setTimeout(r, DRAIN_LOOK_MS));
  lane.closeAll("draining");
  tell({ drained: true });
}

function close(): void {
  producer.abandon();
  lane.closeAll("shutdown");
  device.close();
  clearInterval(clock);
  tell({ closed: true });
  for (const port of [options.producer, options.log, options.broker, options.claims]) port.close();
  parent.close();
}
