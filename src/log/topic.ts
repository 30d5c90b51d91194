/**
 * One topic's log on this node: its partitions and its slices. All of its appends of one group
 * commit go into one transaction of the open slice.
 */
import { join } from "node:path";
import { lastOffsetDelta, producerId, recordCount, stamp, wellFormed } from "../batch/header.ts";
import { MilepostError, type ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { isReserved, logSettings, type LogSettings } from "../model/topic-config.ts";
import { allKeyed } from "./all-keyed.ts";
import { compact, compactable } from "./compaction.ts";
import { isDiskFull } from "./environment.ts";
import type { Environments } from "./environments.ts";
import {
  emptyRow,
  FORMAT,
  sliceFile,
  type Manifest,
  type SliceRow,
  type TopicRow,
} from "./manifest.ts";
import { PartitionLog } from "./partition-log.ts";
import { isFull, mustRoll, removable } from "./retention.ts";
import { sealNext } from "./seal.ts";
import { Slice } from "./slice.ts";
import { TopicReader } from "./topic-reader.ts";
import type { SliceMeta } from "./slice-header.ts";
import type { AppendBatch, PartitionState, TopicInfo } from "./types.ts";

/** After compaction met damage or a full disk. */
const COMPACT_AGAIN_MS = 10 * 60_000;

export type TopicEnvironment = {
  /** `topics/` of the data directory. */
  dir: string;
  manifest: Manifest;
  environments: Environments;
  /** Leader epoch of this start. */
  epoch: number;
  /** Topics live in a cluster, and here only until they are there. */
  uplink: boolean;
};

export class Topic {
  readonly row: TopicRow;
  readonly partitions: PartitionLog[] = [];
  /** Ascending; the last one takes appends. */
  readonly slices: Slice[] = [];
  readonly reader: TopicReader;
  readonly #on: TopicEnvironment;
  settings: LogSettings;
  config: Record<string, string>;
  /**
   * By partition, the offset below which the cluster behind the uplink has everything: slices are
   * kept until then and no longer. Null: this log is all there is.
   */
  readonly mirrored: number[] | null;
  #pending: AppendBatch[] = [];
  /** Sent again: of a batch in this very commit, perhaps. */
  #duplicates: AppendBatch[] = [];
  #nowMs = 0;
  #compaction: Generator<void, void> | null = null;
  #compactAfterMs = 0;

  constructor(row: TopicRow, config: Record<string, string>, on: TopicEnvironment) {
    this.row = row;
    this.config = config;
    this.mirrored = on.uplink && !isReserved(row.name) ? [] : null;
    this.settings = this.#settingsOf(config);
    this.#on = on;
    for (let p = 0; p < row.partitions; p++) this.partitions.push(new PartitionLog());
    this.reader = new TopicReader(row, this.slices, this.partitions);
  }

  configure(config: Record<string, string>): void {
    this.config = config;
    this.settings = this.#settingsOf(config);
  }

  /** What waits for the cluster is neither compacted nor looked through by key. */
  #settingsOf(config: Record<string, string>): LogSettings {
    const settings = logSettings(config);
    return this.mirrored === null ? settings : { ...settings, compact: false, keyIndex: false };
  }

  get info(): TopicInfo {
    const { name, id, partitions, config, losses } = this.row;
    const info = { name, id, partitions, config };
    return losses === undefined ? info : { ...info, losses };
  }

  get open(): Slice {
    return this.slices[this.slices.length - 1];
  }

  get bytes(): number {
    let bytes = 0;
    for (const slice of this.slices) bytes += slice.bytes;
    return bytes;
  }

  sliceFile(row: SliceRow): string {
    return join(this.#on.dir, this.row.dir, sliceFile(row));
  }

  state(): PartitionState[] {
    return this.partitions.map((log, partition) => {
      let bytes = 0;
      for (const slice of this.slices) bytes += slice.row.bytes[partition] ?? 0;
      const { start, end, highWatermark } = log;
      return { partition, start, end, highWatermark, leaderEpoch: this.#on.epoch, bytes };
    });
  }

  partition(p: number): PartitionLog {
    const log = this.partitions[p];
    if (log === undefined) throw new MilepostError("partition_missing", `${this.row.name}/${p}`);
    return log;
  }

  // --- append -------------------------------------------------------------------------------

  /** Takes a batch into the next commit, or refuses it in its `error`. */
  queue(batch: AppendBatch, nowMs: number): void {
    this.#nowMs = nowMs;
    const error = this.#admit(batch);
    if (error !== null) batch.error = error;
  }

  #admit(batch: AppendBatch): ErrorCode | null {
    const { bytes } = batch;
    const log = this.partitions[batch.partition];
    if (log === undefined) return "partition_missing";
    if (bytes.byteLength > this.settings.maxMessageBytes) return "too_large";
    if (!wellFormed(bytes) || recordCount(bytes) === 0) return "invalid_record";
    const records = lastOffsetDelta(bytes) + 1;
    if (records !== recordCount(bytes)) return "invalid_record";
    if (this.settings.compact && !allKeyed(batch)) return "invalid_record";
    const base = log.pendingEnd;
    if (producerId(bytes) >= 0) {
      const verdict = log.producers.check(bytes);
      if (verdict !== null && "error" in verdict) return verdict.error;
      if (verdict !== null) {
        batch.baseOffset = verdict.duplicateOf;
        this.#duplicates.push(batch);
        return null;
      }
      log.producers.add(bytes, base, this.#nowMs);
    }
    log.pendingEnd = base + records;
    batch.baseOffset = base;
    stamp(bytes, base, this.#on.epoch);
    this.#pending.push(batch);
    return null;
  }

  /**
   * Commits what was queued; at the topic's level when it returns. A full disk refuses all of it
   * and leaves everything as it was; any other failure throws, and nothing may go on after it.
   */
  commit(): number {
    const batches = this.#pending;
    const duplicates = this.#duplicates;
    if (duplicates.length > 0) this.#duplicates = [];
    if (batches.length === 0) return 0;
    this.#pending = [];
    const now = this.#nowMs;
    let bytes = 0;
    for (const b of batches) bytes += b.bytes.byteLength;
    try {
      if (isFull(this, bytes, now)) this.roll(now);
      this.open.append(batches, now);
    } catch (error) {
      for (const b of batches.concat(duplicates)) {
        this.partitions[b.partition].rollback();
        b.baseOffset = -1;
        b.error = "disk_full";
      }
      if (isDiskFull(error)) return 0;
      throw error;
    }
    for (const b of batches) {
      const log = this.partitions[b.partition];
      log.noteEpoch(this.#on.epoch, b.baseOffset);
      log.commit();
    }
    return bytes;
  }

  // --- slices -------------------------------------------------------------------------------

  /** The first slice of a new topic; the caller commits the manifest. */
  createFirst(now: number): void {
    this.#startSlice(now);
  }

  /** The open slice is complete; a new one, which carries all state, takes its place. */
  roll(now: number): void {
    const old = this.open;
    const next = this.#startSlice(now);
    old.row.state = "rolled";
    this.#on.manifest.putSlice(this.row.id, old.row);
    try {
      this.#on.manifest.commit();
    } catch (error) {
      old.row.state = "open";
      this.slices.pop();
      next.unlink();
      throw error;
    }
  }

  #startSlice(now: number): Slice {
    const { row, partitions } = this;
    const seq = row.nextSeq;
    const { flushed } = this.settings;
    const starts = partitions.map((p) => p.end);
    const sliceRow = emptyRow(seq, flushed, starts, now);
    for (const { producers } of partitions) producers.expire(now);
    const headers = partitions.map((p) => p.header());
    const path = this.sliceFile(sliceRow);
    const slice = Slice.create(path, sliceRow, this.meta(seq, now), headers, this.#on.environments);
    row.nextSeq = seq + 1;
    this.slices.push(slice);
    this.#on.manifest.putTopic(row);
    this.#on.manifest.putSlice(row.id, sliceRow);
    return slice;
  }

  meta(seq: number, now: number): SliceMeta {
    const { name, id, partitions, config } = this.row;
    const { flushed } = this.settings;
    const topic = { topic: name, topicId: id, partitions, config };
    return { format: FORMAT, ...topic, seq, flushed, createdMs: now };
  }

  /** Housekeeping in bounded steps. What frees room comes first: the rest may fail for lack. */
  tick(now: number, isWritable: boolean): void {
    // a rewrite in progress reads the slices that retention would remove
    const count = this.#compaction === null ? removable(this, now) : 0;
    if (count > 0) this.#removeOldest(count);
    this.#sealStep();
    if (mustRoll(this, now, isWritable)) this.roll(now);
    this.#compactStep(now);
  }

  #compactStep(now: number): void {
    if (this.#compaction === null) {
      if (now < this.#compactAfterMs) return;
      const slices = compactable(this, now);
      if (slices.length === 0) return;
      this.#compaction = compact(this, slices, this.#on, now);
    }
    try {
      const until = performance.now() + limits.logStepMs;
      let done = this.#compaction.next().done;
      while (done !== true && performance.now() < until) done = this.#compaction.next().done;
      if (done === true) this.#compaction = null;
    } catch (error) {
      this.#compaction = null;
      this.#compactAfterMs = now + COMPACT_AGAIN_MS;
      // damage is never rewritten; `doctor` names it, and readers are told
      if (!(error instanceof MilepostError && error.code === "damaged")) throw error;
    }
  }

  #sealStep(): void {
    const slice = sealNext(this.slices, this.settings.keyIndex);
    if (slice === null) return;
    slice.sealed();
    this.#on.manifest.putSlice(this.row.id, slice.row);
    this.#on.manifest.commit();
  }

  #removeOldest(count: number): void {
    for (const { row } of this.slices.slice(0, count)) {
      this.#on.manifest.removeSlice(this.row.id, row.seq);
    }
    this.#on.manifest.commit();
    const { starts } = this.slices[count].row;
    this.partitions.forEach((log, p) => log.moveStart(starts[p] ?? 0));
    for (const slice of this.slices.splice(0, count)) slice.discard();
  }

  /** Moves the log's start; on disk when it returns. `before` -1: to the high watermark. */
  deleteRecords(p: number, before: number): number {
    const log = this.partition(p);
    const to = before === -1 ? log.highWatermark : before;
    if (to < 0 || to > log.highWatermark) {
      throw new MilepostError("offset_out_of_range", `${this.row.name}/${p}: ${before}`);
    }
    if (to > log.start) {
      this.open.moveStart(p, to);
      log.moveStart(to);
    }
    return log.start;
  }

  /**
   * Has readers of a partition pass over the damage at `offset`, or, for null, over what a reader
   * met last. The offsets skipped, up to the next whole batch; null when nothing is damaged there.
   */
  skipDamage(p: number, offset: number | null): { from: number; to: number } | null {
    const { start, highWatermark } = this.partition(p);
    const { reader, row } = this;
    const from = offset ?? reader.damageMet.get(p);
    if (from === undefined || from < start || from >= highWatermark) return null;
    let to = from;
    while (to < highWatermark) {
      const next = reader.damagedUntil(p, to);
      if (next === null) break;
      to = next;
    }
    if (to === from) return null;
    const skips = [...row.skips, [p, from, to] as [number, number, number]];
    this.#on.manifest.putTopic({ ...row, skips });
    this.#on.manifest.commit();
    row.skips = skips;
    reader.damageMet.delete(p);
    return { from, to };
  }

  addPartitions(total: number): void {
    const { open, row } = this;
    const added: PartitionLog[] = [];
    for (let p = row.partitions; p < total; p++) added.push(new PartitionLog());
    const headers = added.map((log) => log.header());
    open.putHeaders(row.partitions, headers);
    this.#on.manifest.putTopic({ ...row, partitions: total });
    this.#on.manifest.putSlice(row.id, open.widened(added.length));
    this.#on.manifest.commit();
    open.widen(added.length);
    this.partitions.push(...added);
    row.partitions = total;
  }

  /** What was only logged is on disk when this returns. */
  flush(): void {
    this.open.flush();
  }

  close(): void {
    this.#compaction?.return();
    for (const slice of this.slices) slice.close();
  }
}
