/**
 * A Kafka cluster as live tracking and the broker see it: who leads which partition, from which
 * offset to which they go, and RecordBatches as bytes. A call answers or throws, within seconds;
 * trying again is its caller's.
 */
import { Consumer, findErrorBy, type BaseOptions } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { type FetchedPartition, type FetchRequest, RawFetch } from "./raw-fetch.ts";
import { type ProduceBatch, type ProducedPartition, RawProduce } from "./raw-produce.ts";

/** Offsets by names instead of times. */
export const EARLIEST = -2;
export const LATEST = -1;

export type ClusterTopic = {
  /** uuid: another one after the topic was deleted and made anew. */
  id: string;
  /** By partition: the node that leads it, -1 without one, and the epoch of that. */
  leaders: { node: number; epoch: number }[];
};

/** By partition, which of its offsets is the next to be read. */
export type Wanted = { partition: number; offset: number };

/** `answerMs`: after so long without an answer a call fails. */
export function clusterOptions(
  brokers: string[],
  name: string,
  answerMs: number = limits.clusterAnswerMsMax,
): BaseOptions {
  return {
    clientId: `milepost-${name}`,
    bootstrapBrokers: brokers,
    connectTimeout: limits.clusterAnswerMsMax,
    timeout: answerMs,
    requestTimeout: answerMs,
    retries: 0,
    autocreateTopics: false,
  };
}

type Connections = { client: Consumer; fetch: RawFetch; produce: RawProduce };

export class ClusterClient {
  readonly #options: BaseOptions;
  #to: Connections;
  #isClosed = false;

  constructor(options: BaseOptions) {
    this.#options = options;
    this.#to = this.#connections();
  }

  /** As it was so long ago at most; null: there is no such topic. */
  async topic(name: string, maxAgeMs: number): Promise<ClusterTopic | null> {
    const found = (await this.#metadata(name, maxAgeMs))?.topics.get(name);
    if (found === undefined) return null;
    const leaders = found.partitions.map(({ leader, leaderEpoch }) => {
      return { node: leader, epoch: leaderEpoch };
    });
    return { id: found.id, leaders };
  }

  /** Of every partition the first record at or after a time, -1 where there is none; or an end. */
  async offsets(name: string, timestamp: number, partition?: number): Promise<number[]> {
    const asked = partition === undefined ? {} : { partitions: { [name]: [partition] } };
    const at = BigInt(Math.trunc(timestamp));
    return this.#guarded(async () => {
      const offsets = await this.#to.client.listOffsets({
        topics: [name],
        timestamp: at,
        ...asked,
      });
      return (offsets.get(name) ?? []).map(Number);
    });
  }

  /** From partitions that this node leads; `waitMs`: for a first byte. */
  async fetch(
    topic: string,
    node: number,
    partitions: Wanted[],
    sizes: Pick<FetchRequest, "waitMs" | "bytesMax" | "partitionBytesMax">,
  ): Promise<FetchedPartition[]> {
    return this.#guarded(async () => {
      const broker = await this.#broker(topic, node);
      const topics = [{ topic, partitions }];
      return this.#to.fetch.fetch(broker, { ...sizes, bytesMin: 1, topics });
    });
  }

  /** To partitions of one topic that this node leads, one batch each; with acks=all. */
  async produce(node: number, batches: ProduceBatch[]): Promise<ProducedPartition[]> {
    return this.#guarded(async () => {
      const broker = await this.#broker(batches[0].topic, node);
      return this.#to.produce.produce(broker, batches, limits.clusterAnswerMsMax);
    });
  }

  /** What there is of one partition from an offset on, without waiting for more. */
  async read(
    topic: string,
    partition: number,
    offset: number,
    bytesMax: number,
  ): Promise<FetchedPartition> {
    const found = await this.topic(topic, limits.clusterMetadataMs);
    const node = found?.leaders[partition]?.node ?? -1;
    const sizes = { waitMs: 0, bytesMax, partitionBytesMax: bytesMax };
    const [fetched] = await this.fetch(topic, node, [{ partition, offset }], sizes);
    if (fetched === undefined) throw new Error(`${topic}/${partition} is not in the answer`);
    return fetched;
  }

  /** What was known of who leads what. */
  forget(): void {
    this.#to.client.clearMetadata();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await closed(this.#to);
  }

  async #broker(topic: string, node: number) {
    const metadata = await this.#metadata(topic, limits.clusterMetadataMs);
    const broker = metadata?.brokers.get(node);
    if (broker === undefined) throw new Error("a partition has no leader");
    return broker;
  }

  async #metadata(name: string, maxAgeMs: number) {
    try {
      return await this.#guarded(() =>
        this.#to.client.metadata({ topics: [name], metadataMaxAge: maxAgeMs }),
      );
    } catch (error) {
      if ((error as Error).message.startsWith("Unknown topic")) return null;
      throw error;
    }
  }

  /**
   * A peer that went away without a word leaves a connection that takes requests for a quarter of
   * an hour yet: after one that got no answer there are new ones.
   */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    const to = this.#to;
    try {
      return await work();
    } catch (error) {
      const isSilent = findErrorBy(error as Error, "code", "PLT_KFK_TIMEOUT") !== null;
      if (isSilent && to === this.#to && !this.#isClosed) {
        this.#to = this.#connections();
        void closed(to);
      }
      throw error;
    }
  }

  #connections(): Connections {
    // of no group: a consumer is the client that can look offsets up
    const client = new Consumer({ ...this.#options, groupId: "none" });
    // what fails is told to who asked
    client.on("error", () => {});
    return {
      client,
      fetch: new RawFetch(this.#options),
      produce: new RawProduce(this.#options),
    };
  }
}

async function closed({ client, fetch, produce }: Connections): Promise<void> {
  await Promise.allSettled([client.close(true), fetch.close(), produce.close()]);
}
