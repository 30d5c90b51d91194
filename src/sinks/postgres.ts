/**
 * PostgreSQL as a target. A batch is one transaction: COPY of its rows, then `milepost_offsets`
 * from the batch's start to its end where the epoch is still ours. The row is locked only from
 * there to the COMMIT, so a worker that stands still holds up nobody.
 */
import type { Client } from "pg";
import {
  BatchCursor,
  encode,
  type Encoded,
  type LeftOut,
  nothingYet,
  offsetKey,
} from "./encode.ts";
import { asFailure, isBadRow, rowReason } from "./pg-errors.ts";
import { copyChunks, MissingDays, openSession, type Session } from "./pg-session.ts";
import { Sampler } from "./sampler.ts";
import type { Bury, Opened, Slice, Taken, Target, TopicPartition, Written } from "./target.ts";
import { placeOf, SinkFailure } from "./target.ts";

export type PostgresOptions = {
  url: string;
  /** The name its offsets stand under: the consumer group's. */
  sink: string;
  createSchema: boolean;
  /** One row a driver and interval; null: all. */
  everyMs: number | null;
};

/** What we know of a partition that is ours. */
type Held = { topicId: string; epoch: number; next: number };

const takePartitions = `
  INSERT INTO milepost_offsets AS o (sink, topic, topic_id, partition, next_offset, epoch)
  SELECT $1, t, id, p, f, 1
  FROM unnest($2::text[], $3::uuid[], $4::int[], $5::bigint[]) AS u(t, id, p, f)
  ORDER BY id, p
  ON CONFLICT (sink, topic_id, partition) DO UPDATE SET epoch = o.epoch + 1
  RETURNING topic, topic_id, partition, next_offset, epoch`;

/** A partition that another worker has taken since is not among the rows that come back. */
const moveOffsets = `
  UPDATE milepost_offsets o SET next_offset = b.until
  FROM unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::int[])
    AS b(topic_id, partition, since, until, epoch)
  WHERE o.sink = $1 AND o.topic_id = b.topic_id AND o.partition = b.partition
    AND o.next_offset = b.since AND o.epoch = b.epoch
  RETURNING o.topic_id, o.partition`;

const everything = { from: 0, to: Infinity };

export class Postgres implements Target {
  readonly #options: PostgresOptions;
  readonly #held = new Map<string, Held>();
  readonly #sampler: Sampler | null;
  #session: Session | null = null;
  #created = false;
  /** A try failed: its transaction may be in all the same. What it would have written. */
  #unsure: Encoded | null = null;
  /** The batch that is being written, and what was found out about it. */
  #batch: { slices: Slice[]; bad: Map<string, string>; kept: Set<string> | null } | null = null;

  constructor(options: PostgresOptions) {
    this.#options = options;
    this.#sampler = options.everyMs === null ? null : new Sampler(options.everyMs);
  }

  async open(partitions: Taken[]): Promise<Opened[]> {
    this.#held.clear();
    this.#sampler?.forget();
    this.#batch = null;
    this.#unsure = null;
    return this.#attempt(async ({ client }) => {
      await client.query("BEGIN");
      await this.#refuseOtherTopics(client, partitions);
      const { rows } = await client.query<OffsetRow>(takePartitions, [
        this.#options.sink,
        partitions.map(({ topic }) => topic),
        partitions.map(({ topicId }) => topicId),
        partitions.map(({ partition }) => partition),
        partitions.map(({ first }) => first),
      ]);
      await client.query("COMMIT");
      return rows.map(({ topic, topic_id: topicId, partition, next_offset, epoch }) => {
        const next = Number(next_offset);
        this.#held.set(placeOf({ topic, partition }), { topicId, epoch, next });
        return { topic, topicId, partition, next };
      });
    });
  }

  async write(slices: Slice[], bury: Bury): Promise<Written> {
    if (this.#batch?.slices !== slices) this.#batch = { slices, bad: new Map(), kept: null };
    const batch = this.#batch;
    return this.#attempt(async (session) => {
      if (this.#unsure !== null && (await this.#isIn(session.client, slices))) {
        return this.#written(slices, this.#unsure);
      }
      if (this.#sampler !== null) {
        batch.kept ??= await this.#sampler.choose(session.client, slices);
      }
      for (;;) {
        const encoded = nothingYet(slices);
        this.#unsure = encoded;
        await session.days.make(session.client, session.days.ahead(Date.now()));
        let error: unknown;
        try {
          const left = { ...everything, bad: batch.bad, kept: batch.kept };
          const lost = await this.#transact(session, slices, left, encoded, bury);
          if (lost.length > 0) return { lost, rows: [], deadLettered: [] };
          return this.#written(slices, encoded);
        } catch (caught) {
          error = caught;
        }
        if (!(error instanceof MissingDays) && !isBadRow(error)) throw error;
        await session.client.query("ROLLBACK");
        if (error instanceof MissingDays) await session.days.make(session.client, error.days);
        else if (!(await this.#findBad(session, slices, batch, 0, encoded.records))) throw error;
      }
    });
  }

  async close(now = false): Promise<void> {
    const client = this.#session?.client;
    this.#session = null;
    if (now) client?.connection?.stream.destroy();
    else await client?.end().catch(() => {});
  }

  /** Any failure ends the connection: the next try begins with a new one, and knows nothing. */
  async #attempt<T>(work: (session: Session) => Promise<T>): Promise<T> {
    try {
      const { url, sink, createSchema } = this.#options;
      this.#session ??= await openSession({
        url,
        sink,
        createSchema: createSchema && !this.#created,
      });
      this.#created = true;
      return await work(this.#session);
    } catch (error) {
      await this.close(true);
      throw asFailure(error);
    }
  }

  async #refuseOtherTopics(client: Client, partitions: TopicPartition[]): Promise<void> {
    const { sink } = this.#options;
    const { rows } = await client.query<{ topic: string }>(
      "SELECT DISTINCT topic FROM milepost_offsets " +
        "WHERE sink = $1 AND topic = ANY($2) AND topic_id <> ALL($3::uuid[])",
      [sink, partitions.map(({ topic }) => topic), partitions.map(({ topicId }) => topicId)],
    );
    if (rows.length === 0) return;
    const [name, topic] = [sink, rows[0].topic].map((text) => client.escapeLiteral(text));
    throw new SinkFailure(
      `topic ${rows[0].topic} is not the one that the table has rows of: it was made anew, or ` +
        "this is another gateway. Name another --group, or forget the old one: " +
        `DELETE FROM milepost_offsets WHERE sink = ${name} AND topic = ${topic};`,
    );
  }

  /** Whether the try before this one was committed, though nobody told us. */
  async #isIn(client: Client, slices: Slice[]): Promise<boolean> {
    const { rows } = await client.query<OffsetRow>(
      "SELECT topic, topic_id, partition, next_offset, epoch FROM milepost_offsets WHERE sink = $1",
      [this.#options.sink],
    );
    return slices.every((slice) => {
      const { topicId, epoch } = this.#heldOf(slice);
      const row = rows.find((one) => {
        return one.topic_id === topicId && one.partition === slice.partition;
      });
      // somebody who took it since began where we ended, if we did
      return row !== undefined && row.epoch === epoch && Number(row.next_offset) === slice.end;
    });
  }

  #heldOf(slice: TopicPartition): Held {
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
    session: Session,
    slices: Slice[],
    left: LeftOut,
    encoded: Encoded,
    bury: Bury,
  ): Promise<TopicPartition[]> {
    const { client } = session;
    await client.query("BEGIN");
    await this.#copy(session, slices, left, encoded);
    // before the COMMIT: one that is lost would be lost for good
    if (encoded.letters.length > 0) await bury(encoded.letters);
    const held = slices.map((slice) => this.#heldOf(slice));
    const { rows } = await client.query<OffsetRow>(moveOffsets, [
      this.#options.sink,
      held.map(({ topicId }) => topicId),
      slices.map(({ partition }) => partition),
      held.map(({ next }) => next),
      slices.map(({ end }) => end),
      held.map(({ epoch }) => epoch),
    ]);
    const lost = slices.filter(({ topicId, partition }) => {
      return !rows.some((row) => row.topic_id === topicId && row.partition === partition);
    });
    await client.query(lost.length > 0 ? "ROLLBACK" : "COMMIT");
    return lost;
  }

  async #copy(session: Session, slices: Slice[], left: LeftOut, encoded: Encoded): Promise<void> {
    const { encoder, days } = session;
    const chunks = encode(encoder, slices, left, encoded);
    await copyChunks(session, function* () {
      for (const chunk of chunks) {
        if (days.missing(encoder.days).length > 0) {
          // all days of the batch at once
          for (const _ of chunks);
          throw new MissingDays(days.missing(encoder.days));
        }
        yield chunk;
      }
    });
  }

  /** Halves the records until each that the database does not take stands alone; false: all are. */
  async #findBad(
    session: Session,
    slices: Slice[],
    batch: { bad: Map<string, string>; kept: Set<string> | null },
    from: number,
    to: number,
  ): Promise<boolean> {
    const error = await this.#probe(session, slices, { ...batch, from, to });
    if (error === null) return false;
    if (to - from > 1) {
      const middle = (from + to) >>> 1;
      const low = await this.#findBad(session, slices, batch, from, middle);
      const high = await this.#findBad(session, slices, batch, middle, to);
      return low || high;
    }
    const cursor = new BatchCursor(slices);
    for (let ordinal = 0; ordinal <= from; ordinal++) cursor.next();
    batch.bad.set(offsetKey(slices[cursor.at], cursor.record.offset), rowReason(error));
    return true;
  }

  async #probe(session: Session, slices: Slice[], left: LeftOut): Promise<unknown> {
    const { client } = session;
    await client.query("BEGIN; SET CONSTRAINTS ALL IMMEDIATE");
    try {
      await this.#copy(session, slices, left, nothingYet(slices));
      return null;
    } catch (error) {
      if (!isBadRow(error)) throw error;
      return error;
    } finally {
      await client.query("ROLLBACK");
    }
  }
}

type OffsetRow = {
  topic: string;
  topic_id: string;
  partition: number;
  next_offset: string;
  epoch: number;
};
