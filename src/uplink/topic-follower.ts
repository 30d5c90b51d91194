/**
 * Follows all partitions of a topic of a cluster, each from an offset on: one request under way at
 * every node that leads some of them, answered with the first byte, and the next one sent while its
 * answer is looked at. What waits is bounded by two answers a node; a slow taker is not read for.
 *
 * Leaders that move, nodes and topics that go away and come back: it goes on from where it stands.
 */
import { endOffset } from "../batch/header.ts";
import { limits } from "../model/limits.ts";
import { Backoff } from "./backoff.ts";
import { type ClusterClient, type ClusterTopic, EARLIEST, LATEST } from "./cluster-client.ts";
import { reasonOf } from "./kafka-errors.ts";
import { type FetchedPartition } from "./raw-fetch.ts";
import { E } from "../wire/errors.ts";

/** What is new of a partition; its batches may begin before `from`. */
export type News = {
  partition: number;
  from: number;
  next: number;
  highWatermark: number;
  batches: Uint8Array[];
};

export type FollowEvents = {
  /** It is there, is another one than before, or has more partitions: where to begin in each. */
  found(topic: ClusterTopic): Promise<number[]>;
  /** One answer; the one behind it comes when this resolves. */
  take(news: News[]): Promise<void>;
  /** `offset` is not there any more, or not yet: where to go on. */
  outOfRange(partition: number, start: number, end: number): number;
  report(line: string): void;
};

type Position = { partition: number; next: number; retryAt: number; answeredAt: number };

export class TopicFollower {
  readonly #client: ClusterClient;
  readonly #topic: string;
  readonly #events: FollowEvents;
  readonly #backoff = new Backoff(limits.clusterRetryMsMin, limits.clusterRetryMsMax);
  /** By partition; the one that was read last stands last: an answer is cut at a size. */
  #positions = new Map<number, Position>();
  #known: ClusterTopic | null = null;
  /** Nodes that are being read from. */
  readonly #nodes = new Set<number>();
  #refreshing: Promise<boolean> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;
  #trouble = "";
  readonly #beganMs = performance.now();

  constructor(client: ClusterClient, topic: string, events: FollowEvents) {
    this.#client = client;
    this.#topic = topic;
    this.#events = events;
  }

  /** False: it could not be found at once, and is looked for from now on. */
  start(): Promise<boolean> {
    return this.#refresh();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** For how long some partition has not answered; a request waits for a while by itself. */
  get silentMs(): number {
    let since = this.#known === null ? this.#beganMs : Infinity;
    for (const { answeredAt } of this.#positions.values()) since = Math.min(since, answeredAt);
    const ms = performance.now() - since;
    return ms > limits.clusterSilentMsMax ? ms : 0;
  }

  /** Who leads what, now and then and whenever something is amiss. */
  #refresh(): Promise<boolean> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#refreshing ??= this.#look().then((isThere) => {
      this.#refreshing = null;
      if (isThere) this.#backoff.reset();
      const ms = isThere ? limits.clusterMetadataMs : this.#backoff.nextMs();
      if (!this.#isStopped) this.#timer = setTimeout(() => void this.#refresh(), ms);
      return isThere;
    });
    return this.#refreshing;
  }

  async #look(): Promise<boolean> {
    try {
      const topic = await this.#client.topic(this.#topic, 0);
      if (topic === null) throw new Error("there is no such topic");
      if (this.#isStopped) return false;
      const known = this.#known;
      const isSame = topic.id === known?.id && topic.leaders.length === known.leaders.length;
      if (!isSame) await this.#adopt(topic);
      this.#known = topic;
      for (const { node } of topic.leaders) {
        if (node < 0 || this.#nodes.has(node) || this.#isStopped) continue;
        this.#nodes.add(node);
        void this.#follow(node);
      }
      return true;
    } catch (error) {
      this.#troubled(error);
      return false;
    }
  }

  async #adopt(topic: ClusterTopic): Promise<void> {
    if (topic.id !== this.#known?.id) this.#positions = new Map();
    const begin = await this.#events.found(topic);
    const now = performance.now();
    for (const [partition, next] of begin.entries()) {
      if (this.#positions.has(partition)) continue;
      this.#positions.set(partition, { partition, next, retryAt: 0, answeredAt: now });
    }
  }

  /** As long as it leads something. */
  async #follow(node: number): Promise<void> {
    const backoff = new Backoff(limits.clusterRetryMsMin, limits.clusterRetryMsMax);
    let ahead: Promise<FetchedPartition[]> | null = null;
    let asked: Position[] = [];
    while (!this.#isStopped) {
      try {
        if (ahead === null) {
          asked = this.#wantedOf(node);
          if (asked.length === 0) {
            if (!this.#leads(node)) break;
            await sleep(limits.clusterRetryMsMin);
            continue;
          }
          ahead = this.#fetch(node, asked);
        }
        const answered = asked;
        const answer = await ahead;
        ahead = null;
        if (this.#isStopped) break;
        backoff.reset();
        const news = (await this.#newsOf(answer, answered)).filter(({ partition, next }) => {
          // the topic may have been made anew meanwhile
          return this.#positions.get(partition)?.next === next;
        });
        asked = this.#wantedOf(node);
        if (asked.length > 0) ahead = this.#fetch(node, asked);
        if (news.length > 0) await this.#events.take(news);
      } catch (error) {
        ahead = null;
        if (this.#isStopped) break;
        this.#troubled(error);
        this.#client.forget();
        void this.#refresh();
        await sleep(backoff.nextMs());
      }
    }
    this.#nodes.delete(node);
  }

  #leads(node: number): boolean {
    return this.#known?.leaders.some((leader) => leader.node === node) ?? false;
  }

  #wantedOf(node: number): Position[] {
    const now = performance.now();
    return [...this.#positions.values()].filter(({ partition, retryAt }) => {
      return this.#known?.leaders[partition]?.node === node && retryAt <= now;
    });
  }

  #fetch(node: number, positions: Position[]): Promise<FetchedPartition[]> {
    const wanted = positions.map(({ partition, next }) => ({ partition, offset: next }));
    const fetching = this.#client.fetch(this.#topic, node, wanted, {
      waitMs: limits.clusterPollMs,
      bytesMax: limits.clusterFetchBytes,
      partitionBytesMax: limits.clusterFetchPartitionBytes,
    });
    // whoever takes it hears of its failure
    fetching.catch(() => {});
    return fetching;
  }

  async #newsOf(answer: FetchedPartition[], asked: Position[]): Promise<News[]> {
    const news: News[] = [];
    const byPartition = new Map(asked.map((position) => [position.partition, position]));
    for (const fetched of answer) {
      const { partition, errorCode, highWatermark, batches } = fetched;
      const position = byPartition.get(partition);
      // made anew meanwhile, or not asked for
      if (position === undefined || this.#positions.get(partition) !== position) continue;
      if (errorCode !== 0) {
        await this.#refused(position, errorCode);
        continue;
      }
      position.answeredAt = performance.now();
      const from = position.next;
      const last = batches.at(-1);
      if (last !== undefined) {
        position.next = Math.max(from, endOffset(last));
        this.#positions.delete(partition);
        this.#positions.set(partition, position);
      }
      news.push({ partition, from, next: position.next, highWatermark, batches });
    }
    if (answer.every(({ errorCode }) => errorCode === 0)) this.#goesOn();
    return news;
  }

  async #refused(position: Position, code: number): Promise<void> {
    const { partition } = position;
    if (code === E.OFFSET_OUT_OF_RANGE) {
      const [starts, ends] = await Promise.all([
        this.#client.offsets(this.#topic, EARLIEST, partition),
        this.#client.offsets(this.#topic, LATEST, partition),
      ]);
      const [start, end] = [starts[partition], ends[partition]];
      // a topic made anew is told by its id, at once
      await this.#refresh();
      if (this.#positions.get(partition) !== position) return;
      if (position.next >= start && position.next <= end) return;
      position.next = this.#events.outOfRange(partition, start, end);
      return;
    }
    position.retryAt = performance.now() + limits.clusterRetryMsMin;
    this.#troubled(new Error(`partition ${partition}: ${refusals.get(code) ?? `error ${code}`}`));
    this.#client.forget();
    void this.#refresh();
  }

  #troubled(error: unknown): void {
    const trouble = reasonOf(error);
    if (this.#trouble === "") {
      this.#events.report(`uplink: reading ${this.#topic}: ${trouble}; trying again`);
    }
    this.#trouble = trouble;
  }

  #goesOn(): void {
    if (this.#trouble !== "") this.#events.report(`uplink: reading ${this.#topic} goes on`);
    this.#trouble = "";
  }
}

/** Kafka's codes that are met here, for people. */
const refusals = new Map<number, string>([
  [E.CORRUPT_MESSAGE, "the bytes there fail their checksum"],
  [E.UNKNOWN_TOPIC_OR_PARTITION, "no such partition there"],
  [E.LEADER_NOT_AVAILABLE, "no leader"],
  [E.NOT_LEADER_OR_FOLLOWER, "its leader has moved"],
]);

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
