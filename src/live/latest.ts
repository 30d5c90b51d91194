/**
 * Feeds topic `latest`: now and then the last position of each driver that has moved since, under
 * the driver as key. The topic is compacted, so a reader of it knows everybody.
 *
 * A batch of 256 KB at once, and the next one when that is in the log: the thread is held up for
 * two milliseconds at a time, and a slow disk makes it wait and nobody else.
 */
import { setImmediate as pause } from "node:timers/promises";
import { BatchBuilder } from "../batch/builder.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import { CHANGED, type DriverTable } from "./drivers.ts";

export const LATEST_TOPIC = "latest";
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Around id and rest: names, and three numbers of at most 25 characters. */
const AROUND_MAX = 128;
const ID = Buffer.from('{"id":"');

/** Where it is written: this gateway's log, or the cluster behind its uplink. */
export type LatestLog = {
  topic(name: string): { partitions: number } | null | Promise<{ partitions: number } | null>;
  /** Batch by batch, why it was refused. */
  appendBatches(
    batches: { topic: string; partition: number; bytes: Uint8Array }[],
    keyed: boolean,
  ): Promise<{ error: string | null }[]>;
};
export type LatestOptions = {
  log: LatestLog;
  drivers: DriverTable;
  /** Whether drivers of this partition of `positions` are written here, and nowhere else. */
  owns?: (partition: number) => boolean;
};

export class LatestWriter {
  readonly #log: LatestLog;
  readonly #drivers: DriverTable;
  readonly #owns: (partition: number) => boolean;
  #builders: BatchBuilder[] = [];
  #writing: Promise<void> | null = null;
  #isStopped = false;
  /** Rows of the batches under way, and which ping of each it was. */
  readonly #rows: number[] = [];
  readonly #offsets: number[] = [];
  #entry: Buffer = Buffer.allocUnsafeSlow(16 * 1024);
  #value: Buffer = Buffer.allocUnsafeSlow(16 * 1024);
  /** Positions appended since the start. */
  written = 0;

  constructor({ log, drivers, owns = () => true }: LatestOptions) {
    this.#log = log;
    this.#drivers = drivers;
    this.#owns = owns;
  }

  /** Writes whoever has changed; a round that is still under way goes on, and that is all. */
  write(): Promise<void> {
    this.#writing ??= this.#round().finally(() => (this.#writing = null));
    return this.#writing;
  }

  /** Whoever is left is written at the next start. */
  stop(): void {
    this.#isStopped = true;
  }

  async #round(): Promise<void> {
    try {
      for (let row = 0; row < this.#drivers.rows && !this.#isStopped;) {
        const topic = await this.#log.topic(LATEST_TOPIC);
        if (topic === null) return;
        row = this.#fill(row, topic.partitions);
        if (this.#rows.length === 0) await pause();
        // a full disk, or a topic that went away meanwhile: drivers stay marked
        else if (!(await this.#append())) return;
      }
    } catch (error) {
      // the log has stopped, or has no such topic any more
      if (!(error instanceof MilepostError)) throw error;
    }
  }

  /** Batches of drivers from `from` on; returns where it ended. */
  #fill(from: number, partitions: number): number {
    const drivers = this.#drivers;
    const { flags, received, idBytes, partition } = drivers;
    while (this.#builders.length < partitions) this.#builders.push(new BatchBuilder());
    this.#rows.length = 0;
    this.#offsets.length = 0;
    let bytes = 0;
    let row = from;
    const to = Math.min(drivers.rows, from + ROWS_AT_ONCE);
    for (; row < to && bytes < limits.batchBytesMax; row++) {
      if ((flags[row] & CHANGED) === 0 || !drivers.isUsed(row)) continue;
      if (!this.#owns(partition[row])) continue;
      const end = this.#json(row);
      const id = idBytes[row];
      const builder = this.#builders[partitionOf(this.#entry, 0, id, partitions)];
      builder.append(this.#entry, 0, id, this.#value, 0, end, received[row], null);
      bytes += id + end;
      this.#rows.push(row);
      this.#offsets.push(drivers.offset[row]);
    }
    return row;
  }

  async #append(): Promise<boolean> {
    const batches = [];
    const ofBatch: number[] = [];
    for (const [partition, builder] of this.#builders.entries()) {
      if (builder.count === 0) continue;
      const bytes = new Uint8Array(builder.seal());
      builder.copyTo(bytes, 0);
      builder.reset();
      ofBatch.push(partition);
      batches.push({ topic: LATEST_TOPIC, partition, bytes });
    }
    const appended = await this.#log.appendBatches(batches, true);
    if (appended.some(({ error }) => error !== null)) return false;
    const { flags, offset } = this.#drivers;
    for (const [i, row] of this.#rows.entries()) {
      // who has moved on meanwhile is written again
      if (offset[row] === this.#offsets[i]) flags[row] &= ~CHANGED;
    }
    this.written += this.#rows.length;
    return true;
  }

  /** The ping's JSON into `#value`, its driver into `#entry`; returns the length of the first. */
  #json(row: number): number {
    const drivers = this.#drivers;
    const id = drivers.idBytes[row];
    const most = 6 * id + drivers.restBytes[row] + AROUND_MAX;
    if (most > this.#value.byteLength) {
      this.#entry = Buffer.allocUnsafeSlow(2 * most);
      this.#value = Buffer.allocUnsafeSlow(2 * most);
    }
    const entry = this.#entry;
    const value = this.#value;
    const end = drivers.copyEntry(row, entry, 0);
    let at = ID.copy(value);
    if (isPlain(entry, id)) {
      at += entry.copy(value, at, 0, id);
      value[at++] = QUOTE;
    } else {
      at += value.write(JSON.stringify(drivers.id(row)).slice(1), at);
    }
    const numbers = `,"ts":${drivers.ts[row]},"lat":${drivers.lat[row]},"lon":${drivers.lon[row]}`;
    at += value.write(numbers, at, "latin1");
    at += entry.copy(value, at, id, end);
    value[at++] = 0x7d;
    return at;
  }
}

/** Rows looked at in one turn, whether they have changed or not. */
const ROWS_AT_ONCE = 65_536;

/** What stands in JSON as it is. */
function isPlain(bytes: Uint8Array, length: number): boolean {
  for (let i = 0; i < length; i++) {
    if (bytes[i] === QUOTE || bytes[i] === BACKSLASH) return false;
  }
  return true;
}
