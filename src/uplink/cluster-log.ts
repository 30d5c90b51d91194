/**
 * One topic of a cluster for those who read it record by record, as a gateway's own log is read:
 * told of news, they ask for what there is. For topics of little traffic, as every record is sent
 * twice: once as the news.
 */
import { baseOffset, endOffset } from "../batch/header.ts";
import { type BatchRecord, recordsOf } from "../batch/records.ts";
import type { LogRecord } from "../log/types.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import {
  ClusterClient,
  type ClusterTopic,
  clusterOptions,
  EARLIEST,
  LATEST,
} from "./cluster-client.ts";
import { TopicFollower } from "./topic-follower.ts";

type Committed = (partition: number, highWatermark: number) => void;

export class ClusterLog {
  readonly #name: string;
  readonly #report: (line: string) => void;
  readonly #following: ClusterClient;
  readonly #asking: ClusterClient;
  readonly #follower: TopicFollower;
  readonly #committed = new Set<Committed>();
  readonly #topicListeners: (() => void)[] = [];
  #topic: ClusterTopic | null = null;

  constructor(brokers: string[], topic: string, report: (line: string) => void) {
    this.#name = topic;
    this.#report = report;
    const slow = clusterOptions(brokers, topic, limits.clusterReadMsMax);
    this.#following = new ClusterClient(slow);
    this.#asking = new ClusterClient(clusterOptions(brokers, topic));
    this.#follower = new TopicFollower(this.#following, topic, {
      found: async (found) => {
        const ends = await this.#following.offsets(topic, LATEST);
        this.#topic = found;
        for (const listener of this.#topicListeners) listener();
        return ends;
      },
      take: async (news) => {
        for (const { partition, highWatermark, batches } of news) {
          if (batches.length === 0) continue;
          for (const listener of this.#committed) listener(partition, highWatermark);
        }
      },
      outOfRange: (_partition, _start, end) => end,
      report,
    });
    void this.#follower.start();
  }

  /** None until the cluster has told. */
  topics(): { name: string; id: string; partitions: number }[] {
    const topic = this.#topic;
    if (topic === null) return [];
    return [{ name: this.#name, id: topic.id, partitions: topic.leaders.length }];
  }

  async describe(): Promise<{ partition: number; start: number; highWatermark: number }[]> {
    const [starts, ends] = await Promise.all([
      this.#asking.offsets(this.#name, EARLIEST),
      this.#asking.offsets(this.#name, LATEST),
    ]);
    return starts.map((start, partition) => ({ partition, start, highWatermark: ends[partition] }));
  }

  async read(
    topic: string,
    partition: number,
    offset: number,
    maxBytes: number,
  ): Promise<{ records: LogRecord[]; next: number; highWatermark: number }> {
    const fetched = await this.#asking.read(topic, partition, offset, maxBytes);
    const { errorCode, highWatermark, batches } = fetched;
    if (errorCode !== 0) throw new Error(`${topic}/${partition}: Kafka error ${errorCode}`);
    const records: LogRecord[] = [];
    let next = offset;
    for (const batch of batches) {
      for (const record of this.#readable(batch, partition)) {
        if (record.offset >= offset) records.push({ partition, ...record });
      }
      next = Math.max(next, endOffset(batch));
    }
    return { records, next, highWatermark };
  }

  onTopics(listener: () => void): void {
    this.#topicListeners.push(listener);
  }

  /** Returns what stops the listening. */
  onCommitted(_topic: string, listener: Committed): () => void {
    this.#committed.add(listener);
    return () => this.#committed.delete(listener);
  }

  async close(): Promise<void> {
    this.#follower.stop();
    await Promise.all([this.#following.close(), this.#asking.close()]);
  }

  /** One that cannot be read would hold up all behind it: it is passed over, and that is said. */
  #readable(batch: Uint8Array, partition: number): BatchRecord[] {
    try {
      return [...recordsOf(batch)];
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      const place = `${this.#name}/${partition} at offset ${baseOffset(batch)}`;
      this.#report(`uplink: ${place}: ${error.message}; passed over`);
      return [];
    }
  }
}
