/**
 * What the MQTT connections of one worker share: the intake, the broker behind, who is connected,
 * the clock of keep-alives. The clock counts the seconds this thread has seen while it was
 * reading: a stall or a pause expires nobody.
 */
import type { Registry } from "../../metrics/registry.ts";
import type { LogProducer } from "../../log/producer.ts";
import type { BrokerLink } from "../broker/link.ts";
import type { Claims } from "../intake-types.ts";
import type { WorkerIntake } from "../intake.ts";
import { AckWriter } from "./acks.ts";
import { MqttConnection, type Io } from "./connection.ts";
import { TopicCache } from "./topics.ts";

const TOPICS_CACHED = 50_000;

export class MqttLane {
  readonly intake: WorkerIntake;
  readonly producer: LogProducer;
  readonly claims: Claims;
  readonly broker: BrokerLink;
  readonly acks = new AckWriter();
  readonly topics = new TopicCache(TOPICS_CACHED);
  readonly #registry: Registry;
  readonly #connections = new Map<number, MqttConnection>();
  #nextId = 1;
  /** Seconds of reading, for keep-alives. */
  clock = 0;
  draining = false;

  constructor(
    intake: WorkerIntake,
    producer: LogProducer,
    claims: Claims,
    broker: BrokerLink,
    registry: Registry,
  ) {
    this.intake = intake;
    this.producer = producer;
    this.claims = claims;
    this.broker = broker;
    this.#registry = registry;
    registry.onSnapshot(() => {
      registry.gauge("milepost_connections", "Open connections", { transport: "mqtt" }).value =
        this.#connections.size;
    });
    broker.onData = (id, bytes) => this.#connections.get(id)?.fromBroker(bytes);
    broker.onDrain = (id) => this.#connections.get(id)?.brokerDrained();
    broker.onClose = (id) => this.#connections.get(id)?.close("broker");
  }

  get size(): number {
    return this.#connections.size;
  }

  open(io: Io, remote: string): MqttConnection {
    const id = this.#nextId++;
    const connection = new MqttConnection(this, id, io, remote);
    this.#connections.set(id, connection);
    if (this.producer.paused) io.pause();
    return connection;
  }

  forget(connection: MqttConnection, reason: string): void {
    this.#connections.delete(connection.id);
    this.#registry.counter("milepost_mqtt_closed_total", "MQTT connections closed", { reason })
      .value++;
  }

  /** A will on an ingest topic: taken as if its client had sent it. */
  will(name: string, payload: Buffer): void {
    const bytes = Buffer.from(name);
    const topic = this.topics.get(bytes, 0, bytes.length);
    if (topic.way === "broker") return;
    this.intake.fromTopic(topic, payload, 0, payload.length, { memory: null }, null, 0);
  }

  /** Once a second. */
  tick(): void {
    if (this.producer.paused) return;
    this.clock++;
    for (const c of this.#connections.values()) c.expire(this.clock);
  }

  pause(): void {
    for (const c of this.#connections.values()) c.io.pause();
  }

  resume(): void {
    for (const c of this.#connections.values()) c.resumeReading();
  }

  /** Stops reading; what was taken is still acknowledged. */
  drain(): void {
    this.draining = true;
    this.pause();
  }

  closeAll(reason: string): void {
    for (const c of this.#connections.values()) c.close(reason);
  }
}
