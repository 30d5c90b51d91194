/** A connection to PostgreSQL, and what is known of the table behind it. */
import { Client } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { limits } from "../model/limits.ts";
import { columns, CopyEncoder } from "./copy-encoder.ts";
import { DayPartitions } from "./day-partitions.ts";
import { OwnColumns } from "./own-columns.ts";
import { createSchema, findTable } from "./pg-schema.ts";

export type Session = {
  client: Client;
  encoder: CopyEncoder;
  days: DayPartitions;
  /** The COPY whose rows the encoder writes. */
  copy: string;
};

const connectMs = 10_000;

export async function openSession(options: {
  url: string;
  sink: string;
  createSchema: boolean;
}): Promise<Session> {
  const client = new Client({
    connectionString: options.url,
    application_name: `milepost ${options.sink}`.slice(0, 63),
    connectionTimeoutMillis: connectMs,
    keepAlive: true,
  });
  // one that breaks while idle: whoever uses it next hears of it
  client.on("error", () => {});
  await client.connect();
  try {
    await client.query(
      `SET idle_in_transaction_session_timeout = ${limits.sinkIdleInTransactionMs}; ` +
        "SET lock_timeout = '10s'; SET tcp_keepalives_idle = 30; SET client_min_messages = error",
    );
    if (options.createSchema) await createSchema(client);
    const table = await findTable(client);
    const names = [...columns, ...table.own].map(({ name }) => client.escapeIdentifier(name));
    return {
      client,
      encoder: new CopyEncoder(table.own.length === 0 ? null : new OwnColumns(table.own)),
      days: new DayPartitions(table),
      copy: `COPY positions (${names.join(", ")}) FROM STDIN (FORMAT binary)`,
    };
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
}

/** Sends the chunks as they are made, no faster than the server takes them. */
export async function copyChunks(
  { client, copy, encoder }: Session,
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

/** Rows of days that have no partition yet. */
export class MissingDays extends Error {
  readonly days: number[];
  constructor(days: number[]) {
    super("rows of days without a partition");
    this.days = days;
  }
}
