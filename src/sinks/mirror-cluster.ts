/** The cluster that is mirrored into: what the sink asks of it, each answered or thrown. */
import {
  Admin,
  ConfigResourceTypes,
  initProducerIdV3,
  listOffsetsV3,
  type BaseOptions,
  type Broker,
  type Connection,
} from "@platformatic/kafka";
import type { BatchProducer } from "../batch/builder.ts";
import { limits } from "../model/limits.ts";
import { codeOf, reasonOf } from "../uplink/kafka-errors.ts";
import { RawFetch } from "../uplink/raw-fetch.ts";
import { type ProduceBatch, type ProducedPartition, RawProduce } from "../uplink/raw-produce.ts";
import { E, errorNames } from "../wire/errors.ts";
import { SinkFailure } from "./target.ts";

const EARLIEST = -2n;
const LATEST = -1n;
/** An ordinary consumer is told of what is committed, a debugging one of all that is there. */
const CONSUMER = -1;
const DEBUGGER = -2;
const READ_UNCOMMITTED = 0;

/** What an operator has to mend. */
const hopeless = new Set<number>([
  E.TOPIC_AUTHORIZATION_FAILED,
  E.CLUSTER_AUTHORIZATION_FAILED,
  E.INVALID_TOPIC_EXCEPTION,
  E.UNSUPPORTED_VERSION,
  E.POLICY_VIOLATION,
  E.INVALID_CONFIG,
  E.INVALID_REPLICATION_FACTOR,
]);

export type Produced = { answers: ProducedPartition[]; trouble: unknown };

export class MirrorCluster {
  readonly #brokers: string;
  readonly #admin: Admin;
  readonly #fetch: RawFetch;
  readonly #produce: RawProduce;

  constructor(options: BaseOptions) {
    this.#brokers = options.bootstrapBrokers.map(text).join(",");
    this.#admin = new Admin({ ...options, autocreateTopics: false });
    this.#fetch = new RawFetch(options);
    this.#produce = new RawProduce(options);
  }

  async close(): Promise<void> {
    const { closed } = this.#admin;
    await Promise.allSettled([
      closed ? null : this.#admin.close(),
      this.#fetch.close(),
      this.#produce.close(),
    ]);
  }

  /** How many partitions; null: there is no such topic. */
  async partitions(topic: string): Promise<number | null> {
    try {
      const { topics } = await this.#admin.metadata({ topics: [topic], forceUpdate: true });
      return topics.get(topic)?.partitionsCount ?? null;
    } catch (error) {
      if (codeOf(error) === E.UNKNOWN_TOPIC_OR_PARTITION) return null;
      if ((error as Error).message.startsWith("Unknown topic")) return null;
      throw error;
    }
  }

  /** With the cluster's own replication. */
  async create(topic: string, partitions: number, config: Map<string, string>): Promise<void> {
    const configs = [...config].map(([name, value]) => ({ name, value }));
    try {
      await this.#admin.createTopics({ topics: [topic], partitions, replicas: -1, configs });
    } catch (error) {
      // another worker was faster
      if (codeOf(error) !== E.TOPIC_ALREADY_EXISTS) throw error;
    }
  }

  /** Null also where this client may not know. */
  async config(topic: string, name: string): Promise<string | null> {
    try {
      return (await configOf(this.#admin, topic, [name])).get(name) ?? null;
    } catch (error) {
      if (codeOf(error) === E.TOPIC_AUTHORIZATION_FAILED) return null;
      throw error;
    }
  }

  async newProducer(): Promise<BatchProducer> {
    const answer = await initProducerIdV3.api.async(await this.#anyNode(), null, 0, -1n, -1);
    return { id: Number(answer.producerId), epoch: answer.producerEpoch, sequence: 0 };
  }

  /** From the first offset to behind the last. What is not on all replicas yet is waited for. */
  async bounds(topic: string, partition: number): Promise<{ first: number; end: number }> {
    const { topics } = await this.#metadata([topic]);
    const leader = topics.get(topic)?.partitions[partition]?.leader ?? -1;
    if (leader < 0) throw new Error(`${topic}/${partition} has no leader`);
    const connection = (await this.#admin.connectToBrokers([leader])).get(leader);
    if (connection === undefined) throw new Error(`node ${leader} is not there`);
    const ask = async (replica: number, timestamp: bigint): Promise<number> => {
      const asked = [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp }];
      const names = [{ name: topic, partitions: asked }];
      const answer = await listOffsetsV3.api.async(connection, replica, READ_UNCOMMITTED, names);
      return Number(answer.topics[0].partitions[0].offset);
    };
    const appended = await ask(DEBUGGER, LATEST);
    const [first, end] = [await ask(CONSUMER, EARLIEST), await ask(CONSUMER, LATEST)];
    if (end < appended) throw new Error(`${topic}/${partition}: replicas are behind`);
    return { first, end };
  }

  async read(topic: string, partition: number, offset: number): Promise<Uint8Array[]> {
    const { topics, brokers } = await this.#metadata([topic]);
    const broker = brokers.get(topics.get(topic)?.partitions[partition]?.leader ?? -1);
    if (broker === undefined) throw new Error(`${topic}/${partition} has no leader`);
    const bytesMax = limits.mirrorBatchBytes;
    const bounds = { waitMs: 0, bytesMin: 1, bytesMax, partitionBytesMax: bytesMax };
    const wanted = [{ topic, partitions: [{ partition, offset }] }];
    const [fetched] = await this.#fetch.fetch(broker, { ...bounds, topics: wanted });
    if (fetched === undefined) throw new Error(`${topic}/${partition} is not in the answer`);
    if (fetched.errorCode !== 0) throw this.refusal(`${topic}/${partition}`, fetched.errorCode);
    return fetched.batches;
  }

  /** To the leaders, at once; what came back when one of them failed is not forgotten. */
  async produce(batches: ProduceBatch[]): Promise<Produced> {
    const names = [...new Set(batches.map(({ topic }) => topic))];
    const { topics, brokers } = await this.#metadata(names);
    const byLeader = Map.groupBy(batches, ({ topic, partition }) => {
      return topics.get(topic)?.partitions[partition]?.leader ?? -1;
    });
    const sent = [...byLeader].map(async ([leader, own]) => {
      const broker = brokers.get(leader);
      if (broker !== undefined) return this.#produce.produce(broker, own, limits.produceMsMax);
      throw new Error(`${own[0].topic}/${own[0].partition} has no leader`);
    });
    const settled = await Promise.allSettled(sent);
    const answers = settled.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
    const failed = settled.find((one) => one.status === "rejected");
    return { answers, trouble: failed?.reason ?? null };
  }

  /** Where trying again cannot help; else what it was. */
  failure(error: unknown): unknown {
    const code = codeOf(error);
    return code !== null && hopeless.has(code)
      ? new SinkFailure(`the Kafka cluster at ${this.#brokers} refuses: ${reasonOf(error)}`)
      : error;
  }

  refusal(place: string, code: number): Error {
    const text = `${place}: ${nameOf(code)}`;
    if (!hopeless.has(code)) return new Error(text);
    return new SinkFailure(
      `the Kafka cluster at ${this.#brokers} refuses ${text}; let this client read and write there`,
    );
  }

  /** The first that can be reached: one that was killed stays in the list for a while. */
  async #anyNode(): Promise<Connection> {
    let trouble: unknown = new Error("no node is there");
    for (const id of (await this.#metadata([])).brokers.keys()) {
      try {
        const connection = (await this.#admin.connectToBrokers([id])).get(id);
        if (connection !== undefined) return connection;
      } catch (error) {
        trouble = error;
      }
    }
    throw trouble;
  }

  #metadata(topics: string[]) {
    return this.#admin.metadata({ topics });
  }
}

/** Of the settings that have these names. */
export async function configOf(
  admin: Admin,
  topic: string,
  names: string[],
): Promise<Map<string, string>> {
  const resourceType = ConfigResourceTypes.TOPIC;
  const resources = [{ resourceType, resourceName: topic, configurationKeys: names }];
  const [described] = await admin.describeConfigs({ resources });
  const known = described.configs.filter(({ value }) => typeof value === "string");
  return new Map(known.map(({ name, value }) => [name, value as string]));
}

export function nameOf(code: number): string {
  return errorNames.get(code) ?? `Kafka error ${code}`;
}

function text(broker: Broker | string): string {
  return typeof broker === "string" ? broker : `${broker.host}:${broker.port}`;
}
