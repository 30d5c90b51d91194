/**
 * Knows where everybody is: looks at each ping of topic `positions`, wherever they come from. It
 * never holds up a device: when pings come faster than it can look at them, it falls behind, and
 * says so.
 *
 *     source ─▶ take: each ping: hub, table, index ─▶ flush
 */
import { batchBytes, endOffset, isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { limits } from "../model/limits.ts";
import { MilepostError } from "../model/errors.ts";
import { CHANGED } from "./drivers.ts";
import { Fleet, type FleetOptions } from "./fleet.ts";
import { LivePing } from "./live-ping.ts";
import type { PingSource } from "./ping-source.ts";

export const TOPIC = "positions";

export type TrackerOptions = FleetOptions & {
  source: PingSource;
  now: () => number;
};

/** Where a checkpoint ends: every ping below `applied` of each partition is in it. */
export type TrackedTo = { topicId: string; applied: number[] };

/** `id` is another for a topic made anew; `losses` another after its end was found gone. */
export type TrackedTopic = { id: string; losses?: number; partitions: number };

/**
 * Names the offsets of a topic: another for a topic made anew, and after a start that found its end
 * gone, for then they are given again.
 */
export function incarnationOf({ id, losses }: Pick<TrackedTopic, "id" | "losses">): string {
  return losses === undefined ? id : `${id}.${losses}`;
}

/** A partition of `positions` as it is followed. */
export type Followed = {
  /** Every ping below is in the table. */
  applied: number;
  highWatermark: number;
  /** ms, of the newest record applied. */
  appliedAt: number;
};

export class Tracker {
  readonly #o: TrackerOptions;
  readonly #fleet: Fleet;
  readonly #ping = new LivePing();
  readonly #cursor = new RecordCursor();
  #partitions: Followed[] = [];
  #topic: TrackedTopic | null = null;
  readonly #waiters = new Set<{ partition: number; offset: number; wake: () => void }>();
  /** Counted since the start. */
  readonly counts = { pings: 0, late: 0, skipped: 0, passedOver: 0 };

  constructor(options: TrackerOptions) {
    this.#o = options;
    this.#fleet = new Fleet(options, this.counts);
  }

  /** `null`: there is no such topic now. */
  get topic(): TrackedTopic | null {
    return this.#topic;
  }

  get partitions(): readonly Followed[] {
    return this.#partitions;
  }

  /** Pings committed and not yet in the table, as far as that is known. */
  get lag(): number {
    return this.#partitions.reduce((sum, p) => sum + Math.max(0, p.highWatermark - p.applied), 0);
  }

  /** How old the oldest of them is, about, or how long nothing was heard; 0 when there is none. */
  lagMs(nowMs: number): number {
    let oldest = nowMs;
    for (const { applied, highWatermark, appliedAt } of this.#partitions) {
      if (applied < highWatermark && appliedAt > 0) oldest = Math.min(oldest, appliedAt);
    }
    return Math.max(nowMs - oldest, this.#o.source.silentMs);
  }

  /** Nothing is heard of where pings come from, for so long; 0: it is there. */
  get silentMs(): number {
    return this.#o.source.silentMs;
  }

  /** Every ping below is in the table; null: there is no such topic. */
  get trackedTo(): TrackedTo | null {
    const applied = this.#partitions.map((p) => p.applied);
    return this.#topic === null ? null : { topicId: incarnationOf(this.#topic), applied };
  }

  /**
   * Begins where a checkpoint of this very topic ends; else where the source does. Rows of a
   * checkpoint may be newer than its offsets: resolves when those pings were looked at, so that
   * nobody who comes is told one of them twice.
   */
  async start(from: TrackedTo | null): Promise<void> {
    const { source, drivers } = this.#o;
    const isThere = await source.start(this, from);
    const isSame = this.#topic !== null && incarnationOf(this.#topic) === from?.topicId;
    if (!isSame) drivers.forgetOffsets();
    if (isThere) await this.#catchUp();
    this.tick();
  }

  async #catchUp(): Promise<void> {
    const { drivers } = this.#o;
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
  }

  stop(): void {
    this.#o.source.stop();
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

  /** From the source: the topic as it is now. */
  topicIs(topic: TrackedTopic | null): void {
    const before = this.#topic;
    this.#topic = topic;
    if (before === null) return;
    if (topic !== null && incarnationOf(topic) === incarnationOf(before)) return;
    // made anew: its offsets mean something else, positions hold
    this.#partitions = [];
    this.#o.drivers.forgetOffsets();
    // whoever is told so may subscribe again at once: to the topic that is there now
    this.#o.hub.reset();
  }

  /** From the source: a partition, of which every ping below `applied` is known or passed over. */
  follow(partition: number, applied: number, highWatermark: number): void {
    this.#partitions[partition] = { applied, highWatermark, appliedAt: 0 };
  }

  /** From the source: so much is there. */
  committed(partition: number, highWatermark: number): void {
    const followed = this.#partitions[partition];
    followed.highWatermark = Math.max(followed.highWatermark, highWatermark);
  }

  /** From the source: pings below `start` are gone. */
  passOver(partition: number, start: number): void {
    const followed = this.#partitions[partition];
    this.counts.passedOver += start - followed.applied;
    followed.applied = start;
    this.#o.hub.passedOver(partition);
  }

  /**
   * From the source: whole batches, from `applied` on; all records below `next` are in them, or
   * were nowhere. The bytes are read until the flush.
   */
  take(partition: number, bytes: Uint8Array, next: number): void {
    const followed = this.#partitions[partition];
    this.#apply(partition, followed, bytes);
    followed.applied = Math.max(followed.applied, next);
  }

  /** Tells everybody what was taken. */
  flush(): void {
    this.#o.hub.flush();
    for (const { partition, offset, wake } of this.#waiters) {
      if ((this.#partitions[partition]?.applied ?? 0) >= offset) wake();
    }
  }

  /**
   * Last positions from elsewhere than the stream, keyed as it is: no offset is known of them.
   * When the newest was received; 0 without any.
   */
  remember(batch: Uint8Array): number {
    const { drivers } = this.#o;
    const partitions = this.#topic?.partitions ?? 1;
    const [now, cursor, ping] = [this.#o.now(), this.#cursor, this.#ping];
    let newest = 0;
    this.#tolerant(() => {
      cursor.open(batch);
      while (cursor.next()) {
        if (!ping.read(cursor, now)) continue;
        const { key, keyStart, keyEnd } = ping;
        ping.offset = -1;
        this.#fleet.take(ping, partitionOf(key, keyStart, keyEnd, partitions));
        drivers.flags[drivers.find(key, keyStart, keyEnd)] &= ~CHANGED;
        newest = Math.max(newest, ping.received);
      }
    });
    return newest;
  }

  #apply(partition: number, followed: Followed, bytes: Uint8Array): void {
    const [now, cursor] = [this.#o.now(), this.#cursor];
    for (let at = 0; at < bytes.byteLength;) {
      const batch = bytes.subarray(at, at + batchBytes(bytes, at));
      at += batch.byteLength;
      if (!isControl(batch)) {
        this.#tolerant(() => {
          cursor.open(batch);
          while (cursor.next()) {
            if (cursor.offset < followed.applied) continue;
            if (this.#ping.read(cursor, now)) this.#fleet.take(this.#ping, partition);
            else this.counts.skipped++;
          }
        });
        followed.appliedAt = Math.min(cursor.timestamp, now);
      }
      followed.applied = Math.max(followed.applied, endOffset(batch));
    }
  }

  /** Of a batch, whose records may be none. */
  #tolerant(look: () => void): void {
    try {
      look();
    } catch (error) {
      // what a producer called compressed, and is not
      if (!(error instanceof MilepostError)) throw error;
      this.counts.skipped++;
    }
  }
}
