/**
 * Pings from topic `positions` of the cluster behind an uplink: what every gateway there has taken.
 * While it is away, what is known goes on being served, and it is said how old it is.
 *
 * A first start does not read a day of a fleet: topic `latest` tells where everybody was, and what
 * it may not have yet is in the last minutes of the stream.
 */
import { endOffset } from "../batch/header.ts";
import { setImmediate as pause } from "node:timers/promises";
import { limits } from "../model/limits.ts";
import {
  type ClusterClient,
  type ClusterTopic,
  EARLIEST,
  LATEST,
} from "../uplink/cluster-client.ts";
import { type News, TopicFollower } from "../uplink/topic-follower.ts";
import { LATEST_TOPIC } from "./latest.ts";
import type { PingSource } from "./ping-source.ts";
import { incarnationOf, TOPIC, type TrackedTo, type Tracker } from "./tracker.ts";

export type ClusterSourceOptions = {
  client: ClusterClient;
  now: () => number;
  report: (line: string) => void;
};

export class ClusterSource implements PingSource {
  readonly #o: ClusterSourceOptions;
  readonly #follower: TopicFollower;
  #tracker!: Tracker;
  /** Where a checkpoint ended, until that is made use of. */
  #from: TrackedTo | null = null;
  #topic: ClusterTopic | null = null;
  #isStopped = false;

  constructor(options: ClusterSourceOptions) {
    this.#o = options;
    this.#follower = new TopicFollower(options.client, TOPIC, {
      found: (topic) => this.#found(topic),
      take: (news) => this.#take(news),
      outOfRange: (partition, start, end) => this.#outOfRange(partition, start, end),
      report: options.report,
    });
  }

  async start(tracker: Tracker, from: TrackedTo | null): Promise<boolean> {
    this.#tracker = tracker;
    this.#from = from;
    const found = this.#follower.start();
    const isThere = await Promise.race([found, sleep(limits.clusterAnswerMsMax)]);
    if (isThere) return true;
    if (tracker.topic === null && from !== null) {
      tracker.topicIs(topicOf(from));
      for (const [p, applied] of from.applied.entries()) tracker.follow(p, applied, applied);
    }
    return false;
  }

  stop(): void {
    this.#isStopped = true;
    this.#follower.stop();
  }

  get silentMs(): number {
    return this.#follower.silentMs;
  }

  /** Where to begin in each partition. */
  async #found(topic: ClusterTopic): Promise<number[]> {
    const { client } = this.#o;
    const tracker = this.#tracker;
    const partitions = topic.leaders.length;
    const [starts, ends] = await Promise.all([
      client.offsets(TOPIC, EARLIEST),
      client.offsets(TOPIC, LATEST),
    ]);
    const from = this.#knownOf(topic.id);
    const lost = from?.applied.findIndex((applied, p) => applied > (ends[p] ?? 0)) ?? -1;
    // the epoch in which its end was gone: the same for all who saw that
    const losses = lost < 0 ? from?.losses : topic.leaders[lost].epoch;
    this.#topic = topic;
    tracker.topicIs({ id: topic.id, partitions, ...(losses === undefined ? {} : { losses }) });
    let begin = starts;
    if (from === null) begin = await this.#firstOffsets(starts, ends);
    this.#from = null;
    for (let p = 0; p < partitions; p++) {
      const known = tracker.partitions[p]?.applied ?? from?.applied[p] ?? begin[p];
      const applied = Math.min(ends[p], known);
      if (tracker.partitions[p] === undefined) tracker.follow(p, applied, ends[p]);
      else tracker.committed(p, ends[p]);
      if (starts[p] > tracker.partitions[p].applied) tracker.passOver(p, starts[p]);
      begin[p] = tracker.partitions[p].applied;
    }
    return begin;
  }

  /** How far this very topic was followed, by a checkpoint or since; null: never. */
  #knownOf(id: string): { applied: number[]; losses?: number } | null {
    const { topic, trackedTo } = this.#tracker;
    const to = topic === null || trackedTo === null ? this.#from : trackedTo;
    // none: a first start that did not come to its end
    if (to === null || to.applied.length === 0) return null;
    const known = topicOf(to);
    return known.id === id ? { ...known, applied: to.applied } : null;
  }

  /** Of a first start: behind what topic `latest` tells of everybody; without that, the first. */
  async #firstOffsets(starts: number[], ends: number[]): Promise<number[]> {
    const newest = await this.#readLatest();
    if (newest === 0) return starts;
    const since = Math.min(newest, this.#o.now()) - limits.latestBackMs;
    const offsets = await this.#o.client.offsets(TOPIC, since);
    return offsets.map((offset, p) => (offset < 0 ? ends[p] : offset));
  }

  /** When the newest of its positions was received; 0: there is none. */
  async #readLatest(): Promise<number> {
    const { client } = this.#o;
    const topic = await client.topic(LATEST_TOPIC, 0);
    if (topic === null) return 0;
    const [starts, ends] = await Promise.all([
      client.offsets(LATEST_TOPIC, EARLIEST),
      client.offsets(LATEST_TOPIC, LATEST),
    ]);
    let newest = 0;
    for (const [partition, start] of starts.entries()) {
      for (let next = start; next < ends[partition] && !this.#isStopped;) {
        const size = limits.clusterFetchPartitionBytes;
        const { batches, errorCode } = await client.read(LATEST_TOPIC, partition, next, size);
        if (errorCode !== 0) throw new Error(`${LATEST_TOPIC}/${partition}: error ${errorCode}`);
        // compaction may have left nothing at the end
        if (batches.length === 0) break;
        for (const batch of batches) newest = Math.max(newest, this.#tracker.remember(batch));
        next = endOffset(batches[batches.length - 1]);
        this.#tracker.flush();
        await pause();
      }
    }
    return newest;
  }

  /** In pieces, with a flush behind each: sockets come between. */
  async #take(news: News[]): Promise<void> {
    const tracker = this.#tracker;
    const { partitions } = tracker;
    for (const { partition, highWatermark } of news) tracker.committed(partition, highWatermark);
    let bytes = 0;
    for (const { partition, next, batches } of news) {
      for (const batch of batches) {
        tracker.take(partition, batch, 0);
        bytes += batch.byteLength;
        if (bytes < limits.trackerReadBytes / 4) continue;
        bytes = 0;
        tracker.flush();
        await pause();
        // made anew meanwhile
        if (this.#isStopped || partitions !== tracker.partitions) return;
      }
      tracker.take(partition, NOTHING, next);
    }
    tracker.flush();
  }

  #outOfRange(partition: number, start: number, end: number): number {
    const tracker = this.#tracker;
    const { applied } = tracker.partitions[partition];
    if (applied < start) {
      // retention was faster
      tracker.passOver(partition, start);
      return start;
    }
    // the cluster lost its end: offsets are given again, to other pings
    const { id, leaders } = this.#topic as ClusterTopic;
    this.#o.report(`uplink: ${TOPIC}/${partition} ends at ${end}, and was read up to ${applied}`);
    const ends = tracker.partitions.map((p) => p.applied);
    ends[partition] = end;
    tracker.topicIs({ id, partitions: leaders.length, losses: leaders[partition].epoch });
    for (const [p, at] of ends.entries()) {
      if (tracker.partitions[p] === undefined) tracker.follow(p, at, at);
    }
    return end;
  }
}

const NOTHING = new Uint8Array(0);

function topicOf({ topicId, applied }: TrackedTo): {
  id: string;
  losses?: number;
  partitions: number;
} {
  const [id, losses] = topicId.split(".");
  const lost = losses === undefined ? {} : { losses: Number(losses) };
  const topic = { id, partitions: applied.length, ...lost };
  return incarnationOf(topic) === topicId ? topic : { id: topicId, partitions: applied.length };
}

const sleep = (ms: number): Promise<false> =>
  new Promise((resolve) => setTimeout(() => resolve(false), ms).unref());
