/**
 * Follows topic `positions` behind its high watermark and knows where everybody is. It never holds
 * up a device: when pings come faster than it can look at them, it falls behind, and says so.
 *
 *     committed ─▶ find, take (LMDB, here) ─▶ each ping: hub, table, index ─▶ flush
 */
import { setImmediate as pause } from "node:timers/promises";
import { baseOffset, batchBytes, isControl, lastOffsetDelta } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { BufferPool } from "../lib/buffer-pool.ts";
import type { LogPort } from "../log/client.ts";
import { type Found, type LogReader, nextOffset, ReadTurn } from "../log/reader.ts";
import type { IndexedTopic, Place } from "../log/protocol.ts";
import type { TopicInfo } from "../log/types.ts";
import { limits } from "../model/limits.ts";
import { MilepostError } from "../model/errors.ts";
import { Fleet, type FleetOptions } from "./fleet.ts";
import { LivePing } from "./live-ping.ts";

export const TOPIC = "positions";

export type TrackerOptions = FleetOptions & {
  log: LogPort;
  reader: LogReader;
  now: () => number;
  report: (line: string) => void;
};

/** Where a checkpoint ends: every ping below `applied` of each partition is in it. */
export type TrackedTo = { topicId: string; applied: number[] };

/**
 * Names the offsets of a topic: another for a topic made anew, and after a start that found its end
 * gone, for then they are given again.
 */
export function incarnationOf({ id, losses }: TopicInfo): string {
  return losses === undefined ? id : `${id}.${losses}`;
}

/** A partition of `positions` as it is followed. */
export type Followed = {
  /** Every ping below is in the table. */
  applied: number;
  highWatermark: number;
  /** ms, of the newest record applied. */
  appliedAt: number;
  /** Where commits lie that were told and not yet read. */
  told: Place[];
  /** The last turn in which something was read. */
  readIn: number;
  /** After damage it is left alone until then. */
  retryAt: number;
};

export class Tracker {
  readonly #o: TrackerOptions;
  readonly #fleet: Fleet;
  readonly #ping = new LivePing();
  readonly #cursor = new RecordCursor();
  readonly #buffers = new BufferPool(limits.trackerReadBytes);
  readonly #taken: Uint8Array[] = [];
  #partitions: Followed[] = [];
  #topic: IndexedTopic | null = null;
  #isPumping = false;
  #isStopped = false;
  #turns = 0;
  readonly #waiters = new Set<{ partition: number; offset: number; wake: () => void }>();
  #damageSaid = new Set<string>();
  /** Counted since the start. */
  readonly counts = { pings: 0, late: 0, skipped: 0, passedOver: 0 };

  constructor(options: TrackerOptions) {
    this.#o = options;
    this.#fleet = new Fleet(options, this.counts);
    options.log.onTopics(() => void this.#topicsChanged());
    const committed = (partition: number, highWatermark: number, place?: Place): void => {
      const followed = this.#partitions[partition];
      if (followed === undefined) return;
      followed.highWatermark = Math.max(followed.highWatermark, highWatermark);
      const { told } = followed;
      // far behind, it is read in larger pieces
      if (told.length === limits.trackerPlacesMax) told.length = 0;
      if (place !== undefined) told.push(place);
      void this.#pump();
    };
    options.log.onCommitted(TOPIC, committed, true);
  }

  /** `null`: there is no such topic now. */
  get topic(): IndexedTopic | null {
    return this.#topic;
  }

  get partitions(): readonly Followed[] {
    return this.#partitions;
  }

  /** Pings committed and not yet in the table. */
  get lag(): number {
    return this.#partitions.reduce((sum, p) => sum + Math.max(0, p.highWatermark - p.applied), 0);
  }

  /** How old the oldest of them is, about; 0 when there is none. */
  lagMs(nowMs: number): number {
    let oldest = nowMs;
    for (const { applied, highWatermark, appliedAt } of this.#partitions) {
      if (applied < highWatermark && appliedAt > 0) oldest = Math.min(oldest, appliedAt);
    }
    return nowMs - oldest;
  }

  /** Every ping below is in the table; null: there is no such topic. */
  get trackedTo(): TrackedTo | null {
    const applied = this.#partitions.map((p) => p.applied);
    return this.#topic === null ? null : { topicId: incarnationOf(this.#topic), applied };
  }

  /**
   * Begins where a checkpoint of this very topic ends; else at the start. Rows of a checkpoint may
   * be newer than its offsets: resolves when those pings were looked at, so that nobody who comes
   * is told one of them twice.
   */
  async start(from: TrackedTo | null): Promise<void> {
    const { log, drivers } = this.#o;
    const topic = log.topic(TOPIC);
    const isSame = topic !== null && incarnationOf(topic) === from?.topicId;
    if (!isSame) drivers.forgetOffsets();
    await this.#follow(from);
    const ahead: number[] = [];
    for (let row = 0; row < drivers.rows; row++) {
      const [partition, offset] = [drivers.partition[row], drivers.offset[row]];
      const followed = this.#partitions[partition];
      // of a log that lost its end
      if (followed === undefined || offset >= followed.highWatermark) drivers.offset[row] = -1;
      else if (offset >= (ahead[partition] ?? followed.applied)) ahead[partition] = offset + 1;
    }
    await Promise.all(
      ahead.map((offset, partition) => this.waitFor(partition, offset, limits.recoveryMsMax)),
    );
    this.tick();
  }

  stop(): void {
    this.#isStopped = true;
    for (const { wake } of this.#waiters) wake();
  }

  /** Resolves when every ping below `offset` is in the table, or after `ms`: false. */
  waitFor(partition: number, offset: number, ms: number): Promise<boolean> {
    const isThere = (): boolean => (this.#partitions[partition]?.applied ?? 0) >= offset;
    if (isThere()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const waiter = { partition, offset, wake: () => end() };
      const timer = setTimeout(() => end(), ms);
      const end = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve(isThere());
      };
      this.#waiters.add(waiter);
    });
  }

  /** Marks who has not been heard of, and tells those who watch where they were. */
  tick(): void {
    const { hub, now } = this.#o;
    this.#fleet.tick(now());
    hub.sweep(now());
    hub.flush();
  }

  async #topicsChanged(): Promise<void> {
    const topic = this.#o.log.topic(TOPIC);
    if (this.#topic !== null && topic?.id !== this.#topic.id) {
      // made anew: its offsets mean something else, positions hold
      this.#partitions = [];
      this.#topic = topic;
      this.#o.drivers.forgetOffsets();
      // whoever is told so may subscribe again at once: to the topic that is there now
      this.#o.hub.reset();
    }
    await this.#follow(null);
  }

  async #follow(from: TrackedTo | null): Promise<void> {
    const { log } = this.#o;
    const topic = log.topic(TOPIC);
    this.#topic = topic;
    if (topic === null) return;
    const states = await log.describe(TOPIC).catch(() => []);
    if (this.#isStopped || this.#topic?.id !== topic.id) return;
    for (const { partition, start, highWatermark } of states) {
      if (this.#partitions[partition] !== undefined) continue;
      const kept = from?.topicId === incarnationOf(topic) ? from.applied[partition] : undefined;
      const applied = Math.min(highWatermark, Math.max(start, kept ?? start));
      this.#partitions[partition] = {
        applied,
        highWatermark,
        appliedAt: 0,
        told: [],
        readIn: 0,
        retryAt: 0,
      };
    }
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    // the rest of the same news comes first
    await Promise.resolve();
    try {
      // sockets come first
      while (!this.#isStopped && (await this.#turn())) await pause();
    } catch (error) {
      // the log stops before this thread does
      if (!(error instanceof MilepostError) || error.code !== "shutdown") throw error;
    } finally {
      this.#isPumping = false;
    }
  }

  /** One look at every partition that has news; false when there is nothing to do, for now. */
  async #turn(): Promise<boolean> {
    const { reader } = this.#o;
    const partitions = this.#partitions;
    const turn = ++this.#turns;
    this.#takeTold();
    this.#flush();
    const now = performance.now();
    const reads = partitions.flatMap(({ applied, highWatermark, retryAt }, partition) =>
      applied < highWatermark && retryAt <= now
        ? [{ topic: TOPIC, partition, offset: applied, maxBytes: limits.trackerReadBytes / 4 }]
        : [],
    );
    if (reads.length === 0) return false;
    // not all may fit: whoever had to wait goes first
    reads.sort((a, b) => partitions[a.partition].readIn - partitions[b.partition].readIn);
    const found = await reader.find(reads, limits.trackerReadBytes);
    if (partitions !== this.#partitions || this.#isStopped) return true;
    let progress = false;
    for (const [i, { partition }] of reads.entries()) {
      if (!this.#take(partition, found[i])) continue;
      partitions[partition].readIn = turn;
      progress = true;
    }
    this.#flush();
    if (!progress) this.#pumpLater();
    return progress;
  }

  #flush(): void {
    this.#o.hub.flush();
    // publications were ranges of these
    for (const bytes of this.#taken.splice(0)) this.#buffers.giveBack(bytes);
    this.#wake();
  }

  /** What was told where it lies. */
  #takeTold(): void {
    const turn = new ReadTurn();
    let bytes = 0;
    for (const [partition, followed] of this.#partitions.entries()) {
      const { told } = followed;
      let taken = 0;
      while (taken < told.length && bytes < limits.trackerReadBytes) {
        const { offset, located } = told[taken];
        if (offset > followed.applied) break;
        taken++;
        if (offset < followed.applied) continue;
        const found = this.#o.reader.told(located);
        if (found !== null && this.#take(partition, found, turn)) bytes += found.bytes;
      }
      told.splice(0, taken);
    }
  }

  /** True when there was something. */
  #take(partition: number, found: Found, turn?: ReadTurn): boolean {
    const followed = this.#partitions[partition];
    followed.highWatermark = Math.max(followed.highWatermark, found.highWatermark);
    if (found.start > followed.applied) {
      // retention was faster
      this.counts.passedOver += found.start - followed.applied;
      followed.applied = found.start;
      this.#o.hub.passedOver(partition);
      return true;
    }
    if (found.error !== null) return this.#complain(partition, found.error, found.detail);
    if (found.bytes === 0) return false;
    const bytes = this.#o.reader.take(found, this.#buffers, turn);
    if (bytes === null) return this.#complain(partition, "damaged", `at ${followed.applied}`);
    if (bytes.byteLength === 0) return false;
    const after = bytes.byteLength === found.bytes ? nextOffset(found) : -1;
    this.#apply(partition, followed, bytes);
    followed.applied = Math.max(followed.applied, after);
    this.#taken.push(bytes);
    return true;
  }

  #apply(partition: number, followed: Followed, bytes: Uint8Array): void {
    const now = this.#o.now();
    const cursor = this.#cursor;
    for (let at = 0; at < bytes.byteLength;) {
      const batch = bytes.subarray(at, at + batchBytes(bytes, at));
      at += batch.byteLength;
      if (!isControl(batch)) {
        try {
          cursor.open(batch);
          while (cursor.next()) {
            if (cursor.offset < followed.applied) continue;
            if (this.#ping.read(cursor, now)) this.#fleet.take(this.#ping, partition);
            else this.counts.skipped++;
          }
        } catch (error) {
          // what a producer called compressed, and is not
          if (!(error instanceof MilepostError)) throw error;
          this.counts.skipped++;
        }
        followed.appliedAt = Math.min(cursor.timestamp, now);
      }
      followed.applied = Math.max(followed.applied, baseOffset(batch) + lastOffsetDelta(batch) + 1);
    }
  }

  #complain(partition: number, code: string, detail: string): false {
    const line = `live tracking: ${TOPIC}/${partition}: ${code}: ${detail}`;
    if (!this.#damageSaid.has(line)) this.#o.report(line);
    this.#damageSaid.add(line);
    this.#partitions[partition].retryAt = performance.now() + limits.trackerRetryMs;
    this.#pumpLater();
    return false;
  }

  #pumpLater(): void {
    setTimeout(() => void this.#pump(), limits.trackerRetryMs + 1).unref();
  }

  #wake(): void {
    for (const { partition, offset, wake } of this.#waiters) {
      if ((this.#partitions[partition]?.applied ?? 0) >= offset) wake();
    }
  }
}
