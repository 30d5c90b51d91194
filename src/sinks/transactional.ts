/**
 * A database with transactions as a target. A batch is one: its rows, then `milepost_offsets` from
 * the batch's start to its end where the epoch is still ours. The row is locked only from there to
 * the commit, so a worker that stands still holds up nobody.
 */
import type { Database, OffsetRow, Session } from "./database.ts";
import {
  BatchCursor,
  encode,
  type Encoded,
  type LeftOut,
  nothingYet,
  offsetKey,
} from "./encode.ts";
import { Sampler } from "./sampler.ts";
import type { Bury, Opened, Slice, Taken, Target, TopicPartition, Written } from "./target.ts";
import { placeOf, SinkFailure } from "./target.ts";

export type TargetOptions = {
  /** The name its offsets stand under: the consumer group's. */
  sink: string;
  createSchema: boolean;
  /** One row a driver and interval; null: all. */
  everyMs: number | null;
};

/** The batch that is being written, and what was found out about it. */
type Batch = { slices: Slice[]; bad: Map<string, string>; kept: Set<string> | null };

const everything = { from: 0, to: Infinity };

export class Transactional<Chunk> implements Target {
  readonly #database: Database<Chunk>;
  readonly #options: TargetOptions;
  /** What is known of the partitions that are ours. */
  readonly #held = new Map<string, OffsetRow>();
  readonly #sampler: Sampler | null;
  #session: Session<Chunk> | null = null;
  #created = false;
  /** A try failed: its transaction may be in all the same. What it would have written. */
  #unsure: Encoded | null = null;
  #batch: Batch | null = null;

  constructor(database: Database<Chunk>, options: TargetOptions) {
    this.#database = database;
    this.#options = options;
    this.#sampler = options.everyMs === null ? null : new Sampler(options.everyMs);
  }

  async open(partitions: Taken[]): Promise<Opened[]> {
    this.#held.clear();
    this.#sampler?.forget();
    this.#batch = null;
    this.#unsure = null;
    return this.#attempt(async (session) => {
      await session.begin();
      await this.#refuseOtherTopics(session, partitions);
      const rows = await session.take(partitions);
      await session.commit();
      for (const row of rows) this.#held.set(placeOf(row), row);
      return rows.map(({ topic, topicId, partition, next }) => {
        return { topic, topicId, partition, next };
      });
    });
  }

  async write(slices: Slice[], bury: Bury): Promise<Written> {
    if (this.#batch?.slices !== slices) this.#batch = { slices, bad: new Map(), kept: null };
    const batch = this.#batch;
    return this.#attempt(async (session) => {
      if (this.#unsure !== null && (await this.#isIn(session, slices))) {
        return this.#written(slices, this.#unsure);
      }
      if (this.#sampler !== null) batch.kept ??= await this.#sampler.choose(session, slices);
      for (;;) {
        const encoded = nothingYet(slices);
        this.#unsure = encoded;
        let error: unknown;
        try {
          const left = { ...everything, bad: batch.bad, kept: batch.kept };
          const lost = await this.#transact(session, slices, left, encoded, bury);
          if (lost.length > 0) return { lost, rows: [], deadLettered: [] };
          return this.#written(slices, encoded);
        } catch (caught) {
          error = caught;
        }
        if (this.#database.isBadRow(error)) {
          await session.rollback();
          if (!(await this.#findBad(session, batch, encoded.records))) throw error;
        } else if (!(await session.mend(error))) throw error;
      }
    });
  }

  startOver({ topic, partition }: TopicPartition): string {
    return this.#database.forgetCommand({ sink: this.#options.sink, topic, partition });
  }

  async close(now = false): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.close(now);
  }

  /** Any failure ends the connection: the next try begins with a new one, and knows nothing. */
  async #attempt<T>(work: (session: Session<Chunk>) => Promise<T>): Promise<T> {
    try {
      const { sink, createSchema } = this.#options;
      this.#session ??= await this.#database.connect({
        sink,
        createSchema: createSchema && !this.#created,
      });
      this.#created = true;
      return await work(this.#session);
    } catch (error) {
      await this.close(true);
      throw this.#database.asFailure(error);
    }
  }

  async #refuseOtherTopics(session: Session<Chunk>, partitions: TopicPartition[]): Promise<void> {
    const ids = new Map(partitions.map(({ topic, topicId }) => [topic, topicId]));
    const other = (await session.offsets()).find(({ topic, topicId }) => {
      return ids.has(topic) && ids.get(topic) !== topicId;
    });
    if (other === undefined) return;
    const { topic } = other;
    throw new SinkFailure(
      `topic ${topic} is not the one that the table has rows of: it was made anew, or ` +
        "this is another gateway. Name another --group, or forget the old one: " +
        this.#database.forgetCommand({ sink: this.#options.sink, topic }),
    );
  }

  /** Whether the try before this one was committed, though nobody told us. */
  async #isIn(session: Session<Chunk>, slices: Slice[]): Promise<boolean> {
    const rows = await session.offsets();
    return slices.every((slice) => {
      const { topicId, epoch } = this.#heldOf(slice);
      const row = rows.find((one) => {
        return one.topicId === topicId && one.partition === slice.partition;
      });
      // somebody who took it since began where we ended, if we did
      return row !== undefined && row.epoch === epoch && row.next === slice.end;
    });
  }

  #heldOf(slice: TopicPartition): OffsetRow {
    const held = this.#held.get(placeOf(slice));
    if (held === undefined) throw new Error(`${placeOf(slice)} was never opened`);
    return held;
  }

  #written(slices: Slice[], { rows, letters }: Encoded): Written {
    this.#unsure = null;
    this.#batch = null;
    for (const slice of slices) this.#heldOf(slice).next = slice.end;
    const deadLettered = slices.map(() => 0);
    const at = new Map(slices.map((slice, i) => [placeOf(slice), i]));
    for (const letter of letters) deadLettered[at.get(placeOf(letter)) as number]++;
    return { lost: [], rows, deadLettered };
  }

  /** Partitions that are another's by now; none: everything is in. */
  async #transact(
    session: Session<Chunk>,
    slices: Slice[],
    left: LeftOut,
    encoded: Encoded,
    bury: Bury,
  ): Promise<TopicPartition[]> {
    await session.begin();
    await session.put(() => encode(session.encoder, slices, left, encoded));
    // before the commit: one that is lost would be lost for good
    if (encoded.letters.length > 0) await bury(encoded.letters);
    const moved = await session.move(
      slices.map((slice) => ({ ...this.#heldOf(slice), until: slice.end })),
    );
    const lost = slices.filter(({ topicId, partition }) => {
      return !moved.some((one) => one.topicId === topicId && one.partition === partition);
    });
    await (lost.length > 0 ? session.rollback() : session.commit());
    return lost;
  }

  /** Finds the rows that the database does not take, beside the others; false: it takes all. */
  async #findBad(session: Session<Chunk>, batch: Batch, records: number): Promise<boolean> {
    await session.begin(true);
    try {
      return await this.#sift(session, batch, 0, records);
    } finally {
      await session.rollback();
    }
  }

  /** Halves the records until each that is refused stands alone; those that are not stay in. */
  async #sift(session: Session<Chunk>, batch: Batch, from: number, to: number): Promise<boolean> {
    const { slices, bad, kept } = batch;
    const left = { bad, kept, from, to };
    await session.savepoint();
    let refused: unknown;
    try {
      await session.put(() => encode(session.encoder, slices, left, nothingYet(slices)));
      return false;
    } catch (error) {
      if (!this.#database.isBadRow(error)) throw error;
      refused = error;
    }
    await session.rollbackToSavepoint();
    if (to - from > 1) {
      const middle = (from + to) >>> 1;
      const low = await this.#sift(session, batch, from, middle);
      const high = await this.#sift(session, batch, middle, to);
      return low || high;
    }
    const cursor = new BatchCursor(slices);
    for (let ordinal = 0; ordinal <= from; ordinal++) cursor.next();
    const key = offsetKey(slices[cursor.at], cursor.record.offset);
    bad.set(key, this.#database.rowReason(refused));
    return true;
  }
}
