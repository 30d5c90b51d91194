/**
 * Parquet files as a target. Rows wait in memory until their file is full, old, or of another hour;
 * then it is written while the next ones are taken. Until a file is published nothing of it is
 * committed: whoever takes the partition next begins where the newest file ends.
 */
import { BatchCursor, offsetKey } from "./encode.ts";
import { type FileNote, hourOf, ParquetFolder, topicFolder } from "./parquet-folder.ts";
import { noteOf, ParquetWriter } from "./parquet-writer.ts";
import { PingRow } from "./ping-row.ts";
import { Sampler } from "./sampler.ts";
import { type Chain, type Spool, Spools } from "./spool.ts";
import type {
  Bury,
  DeadLetter,
  Opened,
  Published,
  Slice,
  Taken,
  Target,
  TopicPartition,
  Written,
} from "./target.ts";
import { placeOf, SinkFailure } from "./target.ts";

export type ParquetOptions = {
  dir: string;
  /** Who may write there: the consumer group. */
  group: string;
  /** A file is published when its first row has waited so long. */
  ageMsMax: number;
  /** One row a driver and interval; null: all. */
  everyMs: number | null;
};

/** What `write` is at, and how far: it may fail for now, and is called again with the same. */
type Batch = {
  slices: Slice[];
  kept: Set<string> | null;
  cursor: BatchCursor;
  letters: DeadLetter[];
};
type Publishing = { done: Promise<void>; failed: boolean };

/** DuckDB's times end a little before PostgreSQL's. */
const timeMsEnd = 9_223_372_036_854_000;
const nothingKnown = { newest: async () => [] };

export class Parquet implements Target {
  readonly #options: ParquetOptions;
  readonly #folder: ParquetFolder;
  readonly #row = new PingRow();
  readonly #sampler: Sampler | null;
  readonly #spools = new Spools();
  readonly #writer = new ParquetWriter();
  #publishing: Publishing | null = null;
  #outcome: Published = { lost: [], safe: [] };
  #batch: Batch | null = null;
  readonly #closed = Promise.withResolvers<never>();

  constructor(options: ParquetOptions) {
    this.#options = options;
    this.#sampler = options.everyMs === null ? null : new Sampler(options.everyMs);
    this.#folder = new ParquetFolder(options.dir, noteOf);
    this.#closed.promise.catch(() => {});
  }

  async open(partitions: Taken[]): Promise<Opened[]> {
    await this.#idle();
    this.#outcome.lost = [];
    // its dead letters may not be buried: it is read again
    if (this.#batch !== null) {
      for (const chain of this.#spools.chains.values()) this.#spools.drop(chain);
    }
    this.#batch = null;
    try {
      await this.#folder.prepare();
      const chains = await this.#chainsOf(partitions);
      // what was taken for one that is not ours any more is another's to write
      for (const chain of this.#spools.chains.values())
        if (!chains.includes(chain)) this.#spools.drop(chain);
      for (const chain of chains) this.#spools.chains.set(placeOf(chain), chain);
      return chains.map(({ topic, topicId, partition, next, safe }) => {
        return { topic, topicId, partition, next, safe };
      });
    } catch (error) {
      throw asFailure(error, this.#options.dir);
    }
  }

  async write(slices: Slice[], bury: Bury): Promise<Written> {
    if (this.#batch?.slices !== slices) {
      const kept = (await this.#sampler?.choose(nothingKnown, slices)) ?? null;
      this.#batch = { slices, kept, cursor: new BatchCursor(slices), letters: [] };
    }
    const { letters } = this.#batch;
    for (let taken = false; !taken;) {
      taken = this.#take(this.#batch);
      // before files that end behind them: one that is lost would be lost for good
      if (letters.length > 0) await bury(letters);
      letters.length = 0;
      if (!taken) await this.#publish(false);
    }
    for (const slice of slices) {
      const chain = this.#spools.chains.get(placeOf(slice));
      if (chain !== undefined) chain.next = slice.end;
    }
    this.#batch = null;
    return { lost: [], rows: [], deadLettered: [] };
  }

  async publish(all: boolean): Promise<Published> {
    this.#spools.sealOld(all ? Infinity : performance.now() - this.#options.ageMsMax);
    await this.#publish(all);
    return this.#collect();
  }

  startOver({ topic }: TopicPartition): string {
    const folder = `${this.#options.dir}/${topicFolder(topic)}`;
    return `move ${folder} out of the way, or name another --dir`;
  }

  async close(now = false): Promise<void> {
    if (now) this.#closed.reject(new Error("given up"));
    else await this.#idle();
  }

  async #chainsOf(partitions: Taken[]): Promise<Chain[]> {
    const chains: Chain[] = [];
    for (const [topic, taken] of Map.groupBy(partitions, (one) => one.topic)) {
      const numbers = taken.map(({ partition }) => partition);
      const newest = await this.#folder.newest(topic, numbers);
      for (const { topicId, partition, first } of taken) {
        const note = newest.get(partition) as FileNote;
        this.#refuseOthers(topic, topicId, note);
        const { end } = note;
        const held = this.#spools.chains.get(placeOf({ topic, partition }));
        if (held?.safe === end && held.topicId === topicId) chains.push(held);
        else {
          // rows that were chosen from there on may be gone: they are chosen again
          this.#sampler?.forget();
          const next = end === 0 ? first : end;
          const all = { safe: end, start: end, next, told: end, current: null };
          chains.push({ topic, topicId, partition, ...all });
        }
      }
    }
    return chains;
  }

  #refuseOthers(topic: string, topicId: string, note: FileNote): void {
    const { dir, group } = this.#options;
    const place = `${dir}/${topicFolder(topic)}`;
    if (note.topicId !== "" && note.topicId !== topicId) {
      throw new SinkFailure(
        `topic ${topic} is not the one that ${place} has files of: it was made anew, or this is ` +
          `another gateway. Name another --dir, or move the old files away: ` +
          `mv '${place}' '${dir}/old-${topic}'`,
      );
    }
    if (note.group === "" || note.group === group) return;
    throw new SinkFailure(
      `${place} is written by group ${note.group}: a folder has one. Go on with --group ` +
        `'${note.group}', or name another --dir`,
    );
  }

  /** False: there is no room for more before files are written. */
  #take({ slices, kept, cursor, letters }: Batch): boolean {
    const { record } = cursor;
    const nowMs = performance.now();
    let at = -1;
    let chain: Chain | undefined;
    while (!this.#spools.full) {
      if (!cursor.next()) return true;
      if (cursor.at !== at) chain = this.#spools.chains.get(placeOf(slices[(at = cursor.at)]));
      // lost since: who has it writes this
      if (chain === undefined) continue;
      const { offset, timestamp } = record;
      const spool = this.#spools.spoolFor(chain, hourOf(timestamp), nowMs);
      chain.next = offset + 1;
      spool.newestMs = Math.max(spool.newestMs, timestamp);
      if (kept !== null && !kept.has(offsetKey(chain, offset))) continue;
      const reason = this.#row.read(record) ?? this.#timeReason();
      if (reason === null) {
        this.#spools.put(spool, this.#row, offset);
        continue;
      }
      spool.deadLettered++;
      const { topic, partition } = chain;
      const [key, value] = [record.key(), record.value()];
      letters.push({ topic, partition, offset, timestamp, key, value, reason });
    }
    return false;
  }

  #timeReason(): string | null {
    const { ts, received } = this.#row;
    return ts < timeMsEnd && received < timeMsEnd ? null : "time out of range";
  }

  /** Until there is room; or, with `all`, until nothing is left that is sealed. */
  async #publish(all: boolean): Promise<void> {
    for (;;) {
      const { full, nearlyFull, sealed } = this.#spools;
      if (nearlyFull && sealed.length === 0) this.#spools.sealLargest();
      this.#publishing ??= this.#begin();
      if (this.#publishing === null) return;
      const publishing = this.#publishing;
      if (!publishing.failed && !all && !full) return;
      try {
        await Promise.race([publishing.done, this.#closed.promise]);
      } finally {
        if (publishing.failed) this.#publishing = null;
      }
    }
  }

  #begin(): Publishing | null {
    const [spool] = this.#spools.sealed;
    if (spool === undefined) return null;
    const publishing = { done: this.#publishOne(spool), failed: false };
    publishing.done.then(
      () => (this.#publishing = this.#begin()),
      () => (publishing.failed = true),
    );
    return publishing;
  }

  /** What failed is tried again when somebody waits for it. */
  async #idle(): Promise<void> {
    while (this.#publishing !== null && !this.#publishing.failed) {
      await this.#publishing.done.catch(() => {});
    }
    this.#publishing = null;
  }

  async #publishOne(spool: Spool): Promise<void> {
    const { chain, start, end, hour, rows, deadLettered, newestMs } = spool;
    const { topic, topicId, partition } = chain;
    const { group } = this.#options;
    const temporary = this.#folder.temporary();
    const note = { topicId, group, start, end };
    let published: boolean;
    try {
      await this.#writer.write(temporary, chain, rows, note);
      const file = { topic, topicId, partition, start, end, group, hour };
      published = await this.#folder.publish(temporary, file);
    } finally {
      await this.#folder.discard(temporary);
    }
    if (!published) {
      this.#spools.drop(chain);
      this.#outcome.lost.push(chain);
      return;
    }
    const { count } = rows;
    this.#spools.sealed.shift();
    this.#spools.release(spool);
    chain.safe = end;
    const of = { topic, topicId, partition, next: end };
    this.#outcome.safe.push({ ...of, rows: count, deadLettered, newestMs });
  }

  /** What was published since, and how far that leads where nothing is held. */
  #collect(): Published {
    const outcome = this.#outcome;
    this.#outcome = { lost: [], safe: [] };
    const none = { rows: 0, deadLettered: 0, newestMs: 0 };
    for (const chain of this.#spools.chains.values()) {
      const { topic, topicId, partition, next, told, start, safe, current } = chain;
      if (current !== null || start !== safe || next === told) continue;
      if (next > safe) outcome.safe.push({ topic, topicId, partition, next, ...none });
      chain.told = next;
    }
    return outcome;
  }
}

/** What cannot be healed by waiting. */
function asFailure(error: unknown, dir: string): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  if (!["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST"].includes(code ?? ""))
    return error as Error;
  return new SinkFailure(`no files can be written to ${dir}: ${message}; name another --dir`);
}
