/**
 * Pings from this gateway's own log, behind its high watermark.
 *
 *     committed ─▶ find, take (LMDB, here) ─▶ tracker ─▶ flush
 */
import { setImmediate as pause } from "node:timers/promises";
import { BufferPool } from "../lib/buffer-pool.ts";
import type { LogPort } from "../log/client.ts";
import { baseOffset } from "../batch/header.ts";
import { type Found, type LogReader, nextOffset } from "../log/reader.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { PingSource } from "./ping-source.ts";
import { incarnationOf, TOPIC, type TrackedTo, type Tracker } from "./tracker.ts";

export type LogSourceOptions = {
  log: LogPort;
  reader: LogReader;
  report: (line: string) => void;
};

/** How a partition is read. */
type Reading = {
  /** Batches that came with the news and were not yet looked at. */
  told: Uint8Array[];
  /** The last turn in which something was read. */
  readIn: number;
  /** After damage it is left alone until then. */
  retryAt: number;
};

export class LogSource implements PingSource {
  readonly #o: LogSourceOptions;
  readonly #buffers = new BufferPool(limits.trackerReadBytes);
  readonly #taken: Uint8Array[] = [];
  #tracker!: Tracker;
  /** By partition, of the topic with this id. */
  #readings: Reading[] = [];
  #topicId: string | null = null;
  #isPumping = false;
  #isStopped = false;
  #turns = 0;
  #toldBytes = 0;
  readonly #damageSaid = new Set<string>();
  readonly silentMs = 0;

  constructor(options: LogSourceOptions) {
    this.#o = options;
  }

  async start(tracker: Tracker, from: TrackedTo | null): Promise<boolean> {
    const { log } = this.#o;
    this.#tracker = tracker;
    log.onTopics(() => void this.#follow(null));
    log.onCommitted(
      TOPIC,
      (p, highWatermark, batches) => this.#told(p, highWatermark, batches),
      true,
    );
    await this.#follow(from);
    return true;
  }

  stop(): void {
    this.#isStopped = true;
  }

  #told(partition: number, highWatermark: number, batches: Uint8Array | null): void {
    const reading = this.#readings[partition];
    if (reading === undefined) return;
    this.#tracker.committed(partition, highWatermark);
    if (batches !== null && this.#toldBytes < limits.trackerToldBytesMax) {
      reading.told.push(batches);
      this.#toldBytes += batches.byteLength;
    }
    void this.#pump();
  }

  async #follow(from: TrackedTo | null): Promise<void> {
    const { log } = this.#o;
    const topic = log.topic(TOPIC);
    if (topic === null || topic.id !== this.#topicId) {
      this.#readings = [];
      this.#toldBytes = 0;
    }
    this.#topicId = topic?.id ?? null;
    this.#tracker.topicIs(topic);
    if (topic === null) return;
    const states = await log.describe(TOPIC).catch(() => []);
    if (this.#isStopped || this.#topicId !== topic.id) return;
    for (const { partition, start, highWatermark } of states) {
      if (this.#readings[partition] !== undefined) continue;
      const kept = from?.topicId === incarnationOf(topic) ? from.applied[partition] : undefined;
      const applied = Math.min(highWatermark, Math.max(start, kept ?? start));
      this.#tracker.follow(partition, applied, highWatermark);
      this.#readings[partition] = { told: [], readIn: 0, retryAt: 0 };
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
    const readings = this.#readings;
    const { partitions } = this.#tracker;
    const turn = ++this.#turns;
    this.#takeTold();
    this.#flush();
    const now = performance.now();
    const reads = readings.flatMap(({ retryAt }, partition) => {
      const { applied, highWatermark } = partitions[partition];
      return applied < highWatermark && retryAt <= now
        ? [{ topic: TOPIC, partition, offset: applied, maxBytes: limits.trackerReadBytes / 4 }]
        : [];
    });
    if (reads.length === 0) return false;
    // not all may fit: whoever had to wait goes first
    reads.sort((a, b) => readings[a.partition].readIn - readings[b.partition].readIn);
    const found = await reader.find(reads, limits.trackerReadBytes);
    if (readings !== this.#readings || this.#isStopped) return true;
    let progress = false;
    for (const [i, { partition }] of reads.entries()) {
      if (!this.#take(partition, found[i])) continue;
      readings[partition].readIn = turn;
      progress = true;
    }
    this.#flush();
    if (!progress) this.#pumpLater();
    return progress;
  }

  #flush(): void {
    this.#tracker.flush();
    // publications were ranges of these
    for (const bytes of this.#taken.splice(0)) this.#buffers.giveBack(bytes);
  }

  /** What came with the news. */
  #takeTold(): void {
    const { partitions } = this.#tracker;
    this.#toldBytes = 0;
    for (const [partition, reading] of this.#readings.entries()) {
      if (reading.told.length === 0) continue;
      for (const batches of reading.told) {
        // what was not told in between is read first
        if (baseOffset(batches) === partitions[partition].applied) {
          this.#tracker.take(partition, batches, -1);
        }
      }
      reading.told = [];
    }
  }

  /** True when there was something. */
  #take(partition: number, found: Found): boolean {
    const tracker = this.#tracker;
    const { applied } = tracker.partitions[partition];
    tracker.committed(partition, found.highWatermark);
    if (found.start > applied) {
      // retention was faster
      tracker.passOver(partition, found.start);
      return true;
    }
    if (found.error !== null) return this.#complain(partition, found.error, found.detail);
    if (found.bytes === 0) return false;
    const bytes = this.#o.reader.take(found, this.#buffers);
    if (bytes === null) return this.#complain(partition, "damaged", `at ${applied}`);
    if (bytes.byteLength === 0) return false;
    const after = bytes.byteLength === found.bytes ? nextOffset(found) : -1;
    tracker.take(partition, bytes, after);
    this.#taken.push(bytes);
    return true;
  }

  #complain(partition: number, code: string, detail: string): false {
    const line = `live tracking: ${TOPIC}/${partition}: ${code}: ${detail}`;
    if (!this.#damageSaid.has(line)) this.#o.report(line);
    this.#damageSaid.add(line);
    this.#readings[partition].retryAt = performance.now() + limits.trackerRetryMs;
    this.#pumpLater();
    return false;
  }

  #pumpLater(): void {
    setTimeout(() => void this.#pump(), limits.trackerRetryMs + 1).unref();
  }
}
