/**
 * A Kafka cluster as live tracking and the broker see it: who leads which partition, from which
 * offset to which they go, and RecordBatches as bytes. A call answers or throws, within seconds;
 * trying again is its caller's.
 */
import { type BaseOptions, Consumer } from "@platformatic/kafka";
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

export class ClusterClient {
  readonly #client: Consumer;
  readonly #fetch: RawFetch;
  readonly #produce: RawProduce;

  constructor(options: BaseOptions) {
    // of no group: a consumer is the client that can look offsets up
    this.#client = new Consumer({ ...options, groupId: "none" });
    // what fails is told to who asked
    this.#client.on("error", () => {});
    this.#fetch = new RawFetch(options);
    this.#produce = new RawProduce(options);
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
    const wanted = { topics: [name], timestamp: at, ...asked };
    const offsets = await this.#client.listOffsets(wanted);
    return (offsets.get(name) ?? []).map(Number);
  }

  /** From partitions that this node leads; `waitMs`: for a first byte. */
  async fetch(
    topic: string,
    node: number,
    partitions: Wanted[],
    sizes: Pick<FetchRequest, "waitMs" | "bytesMax" | "partitionBytesMax">,
  ): Promise<FetchedPartition[]> {
    const broker = await this.#broker(topic, node);
    const topics = [{ topic, partitions }];
    return this.#fetch.fetch(broker, { ...sizes, bytesMin: 1, topics });
  }

  /** To partitions of one topic that this node leads, one batch each; with acks=all. */
  async produce(node: number, batches: ProduceBatch[]): Promise<ProducedPartition[]> {
    const broker = await this.#broker(batches[0].topic, node);
    return this.#produce.produce(broker, batches, limits.clusterAnswerMsMax);
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
    this.#client.clearMetadata();
  }

  async close(): Promise<void> {
    const closing = [this.#client.close(true), this.#fetch.close(), this.#produce.close()];
    await Promise.allSettled(closing);
  }

  async #broker(topic: string, node: number) {
    const metadata = await this.#metadata(topic, limits.clusterMetadataMs);
    const broker = metadata?.brokers.get(node);
    if (broker === undefined) throw new Error("a partition has no leader");
    return broker;
  }

  async #metadata(name: string, maxAgeMs: number) {
    try {
      return await this.#client.metadata({ topics: [name], metadataMaxAge: maxAgeMs });
    } catch (error) {
      if ((error as Error).message.startsWith("Unknown topic")) return null;
      throw error;
    }
  }
}
