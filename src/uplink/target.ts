/**
 * The cluster as somebody who writes to it sees it: its topics and who leads them, a producer id,
 * what arrived of it, and Produce. A call answers or throws; trying again is its caller's.
 */
import {
  type BaseOptions,
  type Broker,
  type Connection,
  ConnectionPool,
  createTopicsV5,
  describeProducersV0,
  initProducerIdV3,
  metadataV12,
} from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { type ProduceBatch, type ProducedPartition, RawProduce } from "./raw-produce.ts";
import type { Producer } from "./stamped.ts";
import { E } from "../wire/errors.ts";

export type TargetTopic = {
  /** uuid: another one after the topic was deleted and made anew. */
  id: string;
  /** By partition: the node that leads it, -1 without one. */
  leaders: number[];
};

export type TargetView = { brokers: Map<number, Broker>; topics: Map<string, TargetTopic> };

export type NewTopic = { name: string; partitions: number; config: Record<string, string> };

export type Told = { topic: string; partition: number; lastSequence: number | null };

const BROKER_DEFAULT = -1;
/** Without transactions it means nothing. */
const TRANSACTION_MS = 60_000;

/** An answer in which some part is an error comes as an exception that carries it. */
type Refusal<T> = Error & { response?: T };

export class Target {
  readonly #bootstrap: Broker[];
  #known: Broker[] = [];
  readonly #options: BaseOptions;
  #pool: ConnectionPool;
  readonly #produce: RawProduce;

  constructor(brokers: string[], clientId: string) {
    this.#bootstrap = brokers.map((text) => {
      const at = text.lastIndexOf(":");
      return { host: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
    });
    const answerMs = limits.clusterAnswerMsMax;
    this.#options = { clientId, bootstrapBrokers: [], connectTimeout: answerMs };
    this.#pool = this.#newPool();
    const requestTimeout = limits.uplinkProduceMsMax + answerMs;
    this.#produce = new RawProduce({ ...this.#options, requestTimeout });
  }

  async view(names: string[]): Promise<TargetView> {
    const connection = await this.#any();
    const { brokers, topics } = await whole(metadataV12.api.async(connection, names, false));
    this.#known = brokers;
    const found = topics.filter(({ errorCode }) => errorCode === 0);
    return {
      brokers: new Map(brokers.map((broker) => [broker.nodeId, broker])),
      topics: new Map(
        found.map(({ name, topicId, partitions }) => {
          const leaders: number[] = [];
          for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId;
          return [name as string, { id: topicId, leaders }];
        }),
      ),
    };
  }

  /** Asks for them all; one that is there already is no error. Throws with the first refusal. */
  async createTopics(topics: NewTopic[]): Promise<void> {
    const connection = await this.#any();
    const wanted = topics.map(({ name, partitions, config }) => ({
      name,
      numPartitions: partitions,
      replicationFactor: BROKER_DEFAULT,
      assignments: [],
      configs: Object.entries(config).map(([key, value]) => ({ name: key, value })),
    }));
    const asking = createTopicsV5.api.async(connection, wanted, limits.clusterAnswerMsMax, false);
    const answer = await whole(asking);
    for (const { name, errorCode, errorMessage } of answer.topics) {
      if (errorCode === 0 || errorCode === E.TOPIC_ALREADY_EXISTS) continue;
      throw new Error(`topic ${name}: ${errorMessage ?? `error ${errorCode}`}`);
    }
  }

  async newProducer(): Promise<Producer> {
    const connection = await this.#any();
    const answer = await initProducerIdV3.api.async(connection, null, TRANSACTION_MS, -1n, -1);
    return { id: Number(answer.producerId), epoch: answer.producerEpoch };
  }

  /** What arrived of a producer in partitions that this broker leads; an error is left out. */
  async lastSequences(
    broker: Broker,
    producer: Producer,
    partitions: { topic: string; partition: number }[],
  ): Promise<Told[]> {
    const connection = await this.#pool.get(broker);
    const byTopic = Map.groupBy(partitions, ({ topic }) => topic);
    const asked = [...byTopic].map(([name, own]) => {
      return { name, partitionIndexes: own.map(({ partition }) => partition) };
    });
    const { topics } = await whole(describeProducersV0.api.async(connection, asked));
    return topics.flatMap(({ name, partitions: told }) =>
      told
        .filter(({ errorCode }) => errorCode === 0)
        .map(({ partitionIndex, activeProducers }) => {
          const own = activeProducers.find(
            ({ producerId, producerEpoch }) =>
              Number(producerId) === producer.id && producerEpoch === producer.epoch,
          );
          const lastSequence = own === undefined || own.lastSequence < 0 ? null : own.lastSequence;
          return { topic: name, partition: partitionIndex, lastSequence };
        }),
    );
  }

  produce(broker: Broker, batches: ProduceBatch[]): Promise<ProducedPartition[]> {
    return this.#produce.produce(broker, batches, limits.uplinkProduceMsMax);
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#pool.close(), this.#produce.close()]);
  }

  #newPool(): ConnectionPool {
    const { clientId, connectTimeout } = this.#options;
    const requestTimeout = limits.clusterAnswerMsMax;
    return new ConnectionPool(clientId as string, { connectTimeout, requestTimeout });
  }

  #any(): Promise<Connection> {
    return this.#pool.getFirstAvailable([...this.#known, ...this.#bootstrap]);
  }
}

async function whole<T>(asking: Promise<T>): Promise<T> {
  try {
    return await asking;
  } catch (error) {
    const { response } = error as Refusal<T>;
    if (response === undefined) throw error;
    return response;
  }
}
