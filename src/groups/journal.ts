/**
 * The way of all groups into `__consumer_offsets`. One append is under way at a time; what comes
 * meanwhile goes with the next, so a thousand commits at one moment cost as much as one. What was
 * written is applied in the order of the log: memory never runs ahead of it, nor apart from it.
 */
import type { LogClient } from "../log/types.ts";
import { limits } from "../model/limits.ts";
import { MilepostError, type ErrorCode } from "../model/errors.ts";
import { builtInTopics } from "../model/topic-config.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { E } from "../wire/errors.ts";

export const OFFSETS_TOPIC = "__consumer_offsets";
/** Groups keep their partitions whatever an operator does to the topic. */
export const PARTITIONS = builtInTopics.find((t) => t.name === OFFSETS_TOPIC)?.partitions ?? 1;

/** Of keys and values together, unless one entry alone is larger. */
const APPEND_BYTES = 512 * 1024;
const RECORD_BYTES = 40;

/** Null: what was under the key is gone. */
export type Write = { key: Uint8Array; value: Uint8Array | null };

type Entry = {
  partition: number;
  writes: readonly Write[];
  bytes: number;
  settle: (error: number) => void;
};

export function partitionOfGroup(group: string): number {
  const key = Buffer.from(group);
  return partitionOf(key, 0, key.length, PARTITIONS);
}

export class Journal {
  readonly #log: LogClient;
  readonly #report: (line: string) => void;
  #queue: Entry[] = [];
  #waitingBytes = 0;
  #writing = false;
  #failing = false;
  #closed = false;

  constructor(log: LogClient, report: (line: string) => void) {
    this.#log = log;
    this.#report = report;
  }

  /**
   * Writes all of them or none; `apply` runs when they are on disk, before the promise resolves
   * with NONE. Else it resolves with an error for clients, and nothing has changed.
   */
  append(group: string, writes: readonly Write[], apply: () => void): Promise<number> {
    let bytes = 0;
    for (const { key, value } of writes) bytes += RECORD_BYTES + key.length + (value?.length ?? 0);
    if (this.#closed || this.#waitingBytes + bytes > limits.groupAppendsBytesMax) {
      return Promise.resolve(E.COORDINATOR_NOT_AVAILABLE);
    }
    this.#waitingBytes += bytes;
    const partition = partitionOfGroup(group);
    return new Promise((resolve) => {
      const settle = (error: number): void => {
        if (error === E.NONE) apply();
        resolve(error);
      };
      this.#queue.push({ partition, writes, bytes, settle });
      if (this.#writing) return;
      this.#writing = true;
      // what else is asked in this turn of the loop goes along
      setImmediate(() => void this.#write());
    });
  }

  /** Nothing is written any more. */
  close(): void {
    this.#closed = true;
    for (const { settle } of this.#queue.splice(0)) settle(E.COORDINATOR_NOT_AVAILABLE);
  }

  async #write(): Promise<void> {
    while (this.#queue.length > 0) {
      // the log takes or refuses a partition's by themselves; all go in one commit
      const byPartition = Map.groupBy(this.#take(), ({ partition }) => partition);
      await Promise.all(Array.from(byPartition.values(), (batch) => this.#writeBatch(batch)));
    }
    this.#writing = false;
  }

  async #writeBatch(batch: readonly Entry[]): Promise<void> {
    const error = await this.#append(batch);
    for (const entry of batch) {
      this.#waitingBytes -= entry.bytes;
      entry.settle(error);
    }
  }

  #take(): Entry[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#queue.length) {
      bytes += this.#queue[count].bytes;
      if (count > 0 && bytes > APPEND_BYTES) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #append(batch: readonly Entry[]): Promise<number> {
    const records = batch.flatMap(({ partition, writes }) =>
      writes.map(({ key, value }) => ({ key, value, partition })),
    );
    try {
      await this.#log.append(OFFSETS_TOPIC, records);
      this.#failing = false;
      return E.NONE;
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      if (!this.#failing) this.#report(`${OFFSETS_TOPIC}: ${error.message}`);
      this.#failing = true;
      return appendError(error.code);
    }
  }
}

/** As Kafka maps what its log says; clients try again unless it is the size. */
const appendError = (code: ErrorCode): number =>
  code === "too_large" ? E.INVALID_COMMIT_OFFSET_SIZE : E.COORDINATOR_NOT_AVAILABLE;
