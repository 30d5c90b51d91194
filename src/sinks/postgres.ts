/** PostgreSQL: rows by COPY in its binary form, into a partition a day. */
import { Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { limits } from "../model/limits.ts";
import { columns, CopyEncoder } from "./copy-encoder.ts";
import {
  type Database,
  deleteOffsets,
  type Letter,
  type Move,
  type OffsetRow,
  type Session,
} from "./database.ts";
import { DayPartitions } from "./day-partitions.ts";
import { OwnColumns } from "./own-columns.ts";
import { asFailure, isBadRow, rowReason } from "./pg-errors.ts";
import { createSchema, findTable, type Table } from "./pg-schema.ts";
import type { Taken } from "./target.ts";

const connectMs = 10_000;

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

const claimLetters = `
  INSERT INTO milepost_replayed
  SELECT dlq_id, dlq_partition, dlq_offset, topic, partition, "offset",
    to_timestamp(received / 1000)
  FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::bigint[],
      $7::float8[], $8::text[], $9::float8[])
    AS l(dlq_id, dlq_partition, dlq_offset, topic, partition, "offset", received, id, ts)
  WHERE NOT EXISTS (
    SELECT FROM positions x
    WHERE x.id = l.id
      AND x.ts BETWEEN to_timestamp((l.ts - 1) / 1000) AND to_timestamp((l.ts + 1) / 1000)
      AND k_topic = l.topic AND k_partition = l.partition AND k_offset = l."offset")
  ON CONFLICT DO NOTHING
  RETURNING dlq_offset AS offset`;

const newestRows = `
  SELECT u.id, extract(epoch FROM p.ts)::float8 * 1000 AS ms
  FROM unnest($1::text[]) AS u(id) CROSS JOIN LATERAL (
    SELECT ts FROM positions WHERE positions.id = u.id ORDER BY ts DESC LIMIT $2
  ) p ORDER BY p.ts`;

export function postgres(url: string): Database<Buffer> {
  return {
    connect: (options) => PostgresSession.open({ url, ...options }),
    isBadRow,
    rowReason,
    asFailure,
    forgetCommand: deleteOffsets,
  };
}

class PostgresSession implements Session<Buffer> {
  readonly encoder: CopyEncoder;
  readonly #client: Client;
  readonly #sink: string;
  readonly #days: DayPartitions;
  /** The COPY whose rows the encoder writes. */
  readonly #copy: string;

  private constructor(client: Client, sink: string, table: Table) {
    this.#client = client;
    this.#sink = sink;
    this.encoder = new CopyEncoder(table.own.length === 0 ? null : new OwnColumns(table.own));
    this.#days = new DayPartitions(table);
    const names = [...columns, ...table.own].map(({ name }) => client.escapeIdentifier(name));
    this.#copy = `COPY positions (${names.join(", ")}) FROM STDIN (FORMAT binary)`;
  }

  static async open(options: {
    url: string;
    sink: string;
    createSchema: boolean;
  }): Promise<PostgresSession> {
    const client = new Client({
      connectionString: options.url,
      application_name: `milepost ${options.sink}`.slice(0, 63),
      connectionTimeoutMillis: connectMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: limits.sinkKeepAliveMs,
    });
    // one that breaks while idle: whoever uses it next hears of it
    client.on("error", () => {});
    await client.connect();
    try {
      await client.query(
        `SET idle_in_transaction_session_timeout = ${limits.sinkIdleInTransactionMs}; ` +
          "SET lock_timeout = '10s'; SET tcp_keepalives_idle = 30; " +
          "SET client_min_messages = error",
      );
      if (options.createSchema) await createSchema(client);
      return new PostgresSession(client, options.sink, await findTable(client));
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  async begin(probe = false): Promise<void> {
    const days = this.#days.ahead(Date.now());
    if (days.length > 0) await this.#days.make(this.#client, days);
    await this.#client.query(probe ? "BEGIN; SET CONSTRAINTS ALL IMMEDIATE" : "BEGIN");
  }

  async commit(): Promise<void> {
    await this.#client.query("COMMIT");
  }

  async rollback(): Promise<void> {
    await this.#client.query("ROLLBACK");
  }

  async savepoint(): Promise<void> {
    await this.#client.query("SAVEPOINT rows_so_far");
  }

  async rollbackToSavepoint(): Promise<void> {
    await this.#client.query("ROLLBACK TO SAVEPOINT rows_so_far");
  }

  async put(chunks: () => Iterable<Buffer>): Promise<void> {
    await copyChunks(this.#client, this.#copy, this.encoder, () => this.#ofKnownDays(chunks()));
  }

  *#ofKnownDays(chunks: Iterable<Buffer>): Generator<Buffer> {
    const iterator = chunks[Symbol.iterator]();
    for (let step = iterator.next(); !step.done; step = iterator.next()) {
      if (this.#days.missing(this.encoder.days).length > 0) {
        // all days of the batch at once
        while (!iterator.next().done);
        throw new MissingDays(this.#days.missing(this.encoder.days));
      }
      yield step.value;
    }
  }

  async mend(error: unknown): Promise<boolean> {
    if (!(error instanceof MissingDays)) return false;
    await this.rollback();
    await this.#days.make(this.#client, error.days);
    return true;
  }

  async offsets(): Promise<OffsetRow[]> {
    const { rows } = await this.#client.query<RawOffset>(
      "SELECT topic, topic_id, partition, next_offset, epoch FROM milepost_offsets WHERE sink = $1",
      [this.#sink],
    );
    return rows.map(offsetRow);
  }

  async take(partitions: Taken[]): Promise<OffsetRow[]> {
    const { rows } = await this.#client.query<RawOffset>(takePartitions, [
      this.#sink,
      partitions.map(({ topic }) => topic),
      partitions.map(({ topicId }) => topicId),
      partitions.map(({ partition }) => partition),
      partitions.map(({ first }) => first),
    ]);
    return rows.map(offsetRow);
  }

  async move(moves: Move[]): Promise<{ topicId: string; partition: number }[]> {
    const { rows } = await this.#client.query<RawOffset>(moveOffsets, [
      this.#sink,
      moves.map(({ topicId }) => topicId),
      moves.map(({ partition }) => partition),
      moves.map(({ next }) => next),
      moves.map(({ until }) => until),
      moves.map(({ epoch }) => epoch),
    ]);
    return rows.map(({ topic_id: topicId, partition }) => ({ topicId, partition }));
  }

  async newest(ids: string[], each: number): Promise<{ id: string; ms: number }[]> {
    const { rows } = await this.#client.query<{ id: string; ms: number }>(newestRows, [ids, each]);
    return rows.map(({ id, ms }) => ({ id, ms: Math.round(ms) }));
  }

  async claim(letters: Letter[]): Promise<Letter[]> {
    const { rows } = await this.#client.query<{ offset: string }>(claimLetters, [
      letters.map(({ dlq }) => dlq.topicId),
      letters.map(({ dlq }) => dlq.partition),
      letters.map(({ dlq }) => dlq.offset),
      letters.map(({ topic }) => topic),
      letters.map(({ partition }) => partition),
      letters.map(({ offset }) => offset),
      letters.map(({ received }) => received),
      letters.map(({ id }) => id),
      letters.map(({ ts }) => ts),
    ]);
    const claimed = new Set(rows.map(({ offset }) => Number(offset)));
    return letters.filter(({ dlq }) => claimed.has(dlq.offset));
  }

  async close(now: boolean): Promise<void> {
    if (now) this.#client.connection?.stream.destroy();
    else await this.#client.end().catch(() => {});
  }
}

type RawOffset = {
  topic: string;
  topic_id: string;
  partition: number;
  next_offset: string;
  epoch: number;
};

function offsetRow({ topic, topic_id: topicId, partition, next_offset, epoch }: RawOffset) {
  return { topic, topicId, partition, next: Number(next_offset), epoch };
}

/** Rows of days that have no partition yet. */
class MissingDays extends Error {
  readonly days: number[];
  constructor(days: number[]) {
    super("rows of days without a partition");
    this.days = days;
  }
}

async function copyChunks(
  client: Client,
  copy: string,
  encoder: CopyEncoder,
  chunks: () => Iterable<Buffer>,
): Promise<void> {
  const stream = client.query(copyFrom(copy));
  const { stream: socket } = client.connection;
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {});
  stream.on("finish", () => done.resolve());
  stream.on("error", (error) => done.reject(error));
  try {
    for (const chunk of chunks()) {
      if (!stream.write(chunk)) {
        const drained = Promise.withResolvers<void>();
        stream.once("drain", () => drained.resolve());
        await Promise.race([drained.promise, done.promise]);
      }
      // with the kernel, all of it
      if (stream.writableLength === 0 && socket.writableLength === 0) encoder.reuse();
    }
  } catch (error) {
    stream.destroy(error as Error);
    await done.promise.catch(() => {});
    throw error;
  }
  stream.end();
  await done.promise;
}
