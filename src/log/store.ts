/**
 * The log of a node: topics, each a sequence of LMDB files. Synchronous; lives in the log thread,
 * which alone writes. Time is passed in.
 *
 *     data/meta.mdb                          manifest
 *     data/topics/<name>-<id8>/<seq>.mdb     slices
 *     data/damaged/                          what recovery cut
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rm, rmSync } from "node:fs";
import { join } from "node:path";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import {
  changedConfig,
  type ConfigChange,
  effectiveConfig,
  type TopicConfig,
  validateSettings,
  validateTopicName,
} from "../model/topic-config.ts";
import { DiskWatermark } from "./disk-watermark.ts";
import { isDiskFull, orDiskFull, syncDirectory } from "./environment.ts";
import { Environments } from "./environments.ts";
import { Manifest, type TopicRow } from "./manifest.ts";
import { raiseEpoch, recoverTopic } from "./recover-topic.ts";
import { report, type RecoveryReport } from "./recovery.ts";
import { fullBuffer } from "./retention.ts";
import { sweepStrays } from "./strays.ts";
import { Topic, type TopicEnvironment } from "./topic.ts";
import type { AppendBatch, Durability, PartitionState, TopicInfo } from "./types.ts";

export type LogStoreOptions = {
  dir: string;
  /** Below so many free bytes nothing is written; null: min(1 GiB, 5 % of the file system). */
  diskMin: number | null;
  now: number;
  /** What an operator should read. */
  log(line: string): void;
  /** Level of topics that do not set `milepost.durability`. */
  durability?: Durability;
  /** Topics live in a cluster: see `Topic.mirrored`. */
  uplink?: boolean;
};

export class LogStore {
  readonly recovery: RecoveryReport;
  readonly #disk: DiskWatermark;
  /** Settings of topics that do not set them. */
  readonly defaults: TopicConfig;
  readonly #manifest: Manifest;
  readonly #environments = new Environments(limits.slicesOpenMax);
  readonly #on: TopicEnvironment;
  readonly #topics = new Map<string, Topic>();
  readonly #touched = new Set<Topic>();
  #fullBuffer = "";
  #turn = 0;
  #commits = 0;
  #bytesWritten = 0;

  static open(options: LogStoreOptions): LogStore {
    return new LogStore(options);
  }

  private constructor({ dir, diskMin, now, log, durability, uplink = false }: LogStoreOptions) {
    const started = performance.now();
    this.defaults = durability === undefined ? {} : { "milepost.durability": durability };
    const topicsDir = join(dir, "topics");
    const manifestPath = join(dir, "meta.mdb");
    mkdirSync(topicsDir, { recursive: true });
    this.#disk = new DiskWatermark(dir, diskMin, log);
    if (!existsSync(manifestPath) && readdirSync(topicsDir).length > 0) {
      throw new MilepostError("damaged", `${manifestPath} is missing, but there are topics`);
    }
    this.#manifest = Manifest.open(manifestPath);
    syncDirectory(dir);
    const { node } = this.#manifest;
    const { clean } = node;
    const aside = sweepStrays(dir, this.#manifest);
    node.epoch++;
    node.clean = false;
    this.#manifest.putNode();
    this.#manifest.commit();
    const { epoch } = node;
    const environments = this.#environments;
    this.#on = { dir: topicsDir, manifest: this.#manifest, environments, epoch, uplink };
    this.recovery = { clean, epoch, ms: 0, cut: [], damaged: [], aside };
    for (const row of this.#manifest.topics.values()) {
      const config = effectiveConfig(row.config, this.defaults);
      const topic = recoverTopic(row, config, this.#on, join(dir, "damaged"), this.recovery);
      this.#topics.set(row.name, topic);
      if (topic.open.row.flushed !== topic.settings.flushed) topic.roll(now);
    }
    this.recovery.epoch = raiseEpoch(this.#on, this.#topics.values());
    this.recovery.ms = Math.round(performance.now() - started);
    report(this.recovery, log);
    this.#disk.check(now);
  }

  /** False while the disk is below its watermark, or the buffer of a topic is full. */
  get writable(): boolean {
    return this.unwritable === "";
  }

  /** Why nothing is written, for people. */
  get unwritable(): string {
    return this.#disk.writable ? this.#fullBuffer : "the disk is below its watermark";
  }

  get nodeId(): string {
    return this.#manifest.node.nodeId;
  }

  topics(): TopicInfo[] {
    return [...this.#topics.values()].map((t) => t.info);
  }

  /** Throws what `createTopic` throws. */
  checkNewTopic(name: string, partitions: number, config: TopicConfig): void {
    if (this.#topics.has(name)) throw new MilepostError("topic_exists", name);
    validateTopicName(name, this.#topics.keys());
    if (!Number.isInteger(partitions) || partitions < 1) {
      throw new MilepostError("invalid_partitions", `${name}: ${partitions}`);
    }
    validateSettings(config);
    if (this.#topics.size >= limits.topicsMax) {
      throw new MilepostError("policy", `at most ${limits.topicsMax} topics`);
    }
    this.#checkPartitions(partitions);
  }

  createTopic(name: string, partitions: number, config: TopicConfig): TopicInfo {
    this.checkNewTopic(name, partitions, config);
    const id = randomUUID();
    // a file name has at most 255 bytes
    const dir = `${name.slice(0, 200)}-${id.slice(0, 8)}`;
    const row: TopicRow = { name, id, partitions, config, dir, nextSeq: 1, skips: [] };
    const topic = new Topic(row, effectiveConfig(config, this.defaults), this.#on);
    const path = join(this.#on.dir, dir);
    orDiskFull(() => {
      try {
        mkdirSync(path);
        syncDirectory(this.#on.dir);
        topic.createFirst(Date.now());
        this.#manifest.commit();
      } catch (error) {
        topic.close();
        rmSync(path, { recursive: true, force: true });
        throw error;
      }
    });
    this.#topics.set(name, topic);
    return topic.info;
  }

  deleteTopic(name: string): void {
    const topic = this.topic(name);
    orDiskFull(() => {
      this.#manifest.removeTopic(topic.row);
      for (const slice of topic.slices) this.#manifest.removeSlice(topic.row.id, slice.row.seq);
      this.#manifest.commit();
    });
    this.#topics.delete(name);
    topic.close();
    // gigabytes take seconds: beside this thread, and a reader may make a lock file meanwhile
    const dir = join(this.#on.dir, topic.row.dir);
    rm(dir, { recursive: true, force: true, maxRetries: 10 }, (error) => {
      if (error !== null) throw error;
      this.#manifest.forget(topic.row.id);
    });
  }

  alterTopic(name: string, changes: ConfigChange, options: { replace?: boolean } = {}): void {
    const topic = this.topic(name);
    const config = changedConfig(topic.row.config, changes, options);
    orDiskFull(() => {
      this.#manifest.putTopic({ ...topic.row, config });
      this.#manifest.commit();
    });
    topic.row.config = config;
    topic.configure(effectiveConfig(config, this.defaults));
    // a file is of one level from its first byte
    if (topic.open.row.flushed !== topic.settings.flushed) {
      orDiskFull(() => topic.roll(Date.now()));
    }
  }

  /** Throws what `addPartitions` throws. */
  checkMorePartitions(name: string, total: number): void {
    const { partitions } = this.topic(name).row;
    if (!Number.isInteger(total) || total <= partitions) {
      const detail = `${name} has ${partitions} partitions, ${total} is not more`;
      throw new MilepostError("invalid_partitions", detail);
    }
    this.#checkPartitions(total - partitions);
  }

  addPartitions(name: string, total: number): void {
    this.checkMorePartitions(name, total);
    orDiskFull(() => this.topic(name).addPartitions(total));
  }

  describe(name: string): PartitionState[] {
    return this.topic(name).state();
  }

  effectiveConfig(name: string): TopicConfig {
    return { ...this.topic(name).config };
  }

  watermark(name: string, partition: number): { start: number; highWatermark: number } {
    const { start, highWatermark } = this.topic(name).partition(partition);
    return { start, highWatermark };
  }

  /** Throws `topic_missing`. */
  topic(name: string): Topic {
    const topic = this.#topics.get(name);
    if (topic === undefined) throw new MilepostError("topic_missing", name);
    return topic;
  }

  /** -1 where there is no such partition. */
  logStart(name: string, partition: number): number {
    return this.#topics.get(name)?.partitions[partition]?.start ?? -1;
  }

  #checkPartitions(more: number): void {
    let total = more;
    for (const topic of this.#topics.values()) total += topic.partitions.length;
    if (total > limits.partitionsMax) {
      throw new MilepostError("policy", `at most ${limits.partitionsMax} partitions`);
    }
  }

  /** The first of so many producer ids that were never given; on disk when it returns. */
  reserveProducerIds(count: number): number {
    const { node } = this.#manifest;
    const first = node.nextProducerId ?? 0;
    orDiskFull(() => {
      this.#manifest.putNode({ ...node, nextProducerId: first + count });
      this.#manifest.commit();
    });
    node.nextProducerId = first + count;
    return first;
  }

  /**
   * One group commit: a transaction per topic. Every batch has its base offset or its error when
   * this returns. A failing disk throws: what was not answered is unknown, and the process stops.
   */
  append(batches: AppendBatch[], now: number): void {
    this.#disk.check(now);
    const touched = this.#touched;
    let topic: Topic | undefined;
    for (const batch of batches) {
      if (!this.writable) {
        batch.error = "disk_full";
        continue;
      }
      if (topic === undefined || topic.row.name !== batch.topic) {
        topic = this.#topics.get(batch.topic);
      }
      if (topic === undefined) {
        batch.error = "topic_missing";
        continue;
      }
      topic.queue(batch, now);
      touched.add(topic);
    }
    for (const t of touched) {
      const bytes = t.commit();
      if (bytes > 0) this.#commits++;
      this.#bytesWritten += bytes;
    }
    touched.clear();
  }

  read(
    topic: string,
    partition: number,
    offset: number,
    maxBytes: number,
  ): { batches: Uint8Array[]; highWatermark: number; start: number } {
    const t = this.topic(topic);
    const batches = t.reader.read(partition, offset, maxBytes);
    const { highWatermark, start } = t.partitions[partition];
    return { batches, highWatermark, start };
  }

  /** Told of every slice that readers elsewhere must close. */
  onForgotten(listener: (path: string) => void): void {
    this.#environments.onForgotten = listener;
  }

  /** Moves the start of a partition; returns the start. `before` -1: to the high watermark. */
  deleteRecords(topic: string, partition: number, before: number): number {
    return orDiskFull(() => this.topic(topic).deleteRecords(partition, before));
  }

  /** See `Topic.skipDamage`; on disk when it returns. */
  skipDamage(topic: string, partition: number, offset: number | null) {
    return orDiskFull(() => this.topic(topic).skipDamage(partition, offset));
  }

  /** Bounded work, a topic after the other; call it some times a second. */
  tick(now: number): void {
    this.#disk.check(now);
    const until = performance.now() + limits.logStepMs;
    const topics = [...this.#topics.values()];
    for (let n = 0; n < topics.length && performance.now() < until; n++) {
      try {
        topics[this.#turn++ % topics.length].tick(now, this.writable);
      } catch (error) {
        // no room for a table or a new slice: later
        if (!isDiskFull(error)) throw error;
      }
    }
    this.#fullBuffer = fullBuffer(topics);
  }

  metrics() {
    const topics = [...this.#topics.values()];
    return {
      partitions: topics.flatMap((t) => t.state().map((s) => ({ topic: t.row.name, ...s }))),
      topics: topics.map((t) => ({ topic: t.row.name, bytes: t.bytes })),
      slices: topics.reduce((sum, t) => sum + t.slices.length, 0),
      commits: this.#commits,
      bytesWritten: this.#bytesWritten,
      environments: this.#environments.size + this.#topics.size,
    };
  }

  /** Everything is on disk and marked as a clean stop. */
  close(): void {
    try {
      for (const topic of this.#topics.values()) topic.flush();
      this.#manifest.node.clean = true;
      this.#manifest.putNode();
      this.#manifest.commit();
    } catch (error) {
      // no room for the mark: the next start sees an unclean stop, nothing is lost
      if (!isDiskFull(error)) throw error;
    }
    for (const topic of this.#topics.values()) topic.close();
    this.#environments.close();
    this.#manifest.close();
  }
}
