/** MySQL and MariaDB: rows by LOAD DATA LOCAL where the server allows it, else by INSERT. */
import { Readable } from "node:stream";
import { type Connection, createConnection, type ResultSetHeader } from "mysql2/promise";
import type { RowDataPacket } from "mysql2/promise";
import { limits } from "../model/limits.ts";
import {
  type Database,
  deleteOffsets,
  type Letter,
  type Move,
  type OffsetRow,
  type Session,
} from "./database.ts";
import { dateTime, MysqlEncoder } from "./mysql-encoder.ts";
import { asFailure, isBadRow, isLoadRefused, LoadDiffers, rowReason } from "./mysql-errors.ts";
import { columns, createSchema, findOwnColumns } from "./mysql-schema.ts";
import { type OwnColumn, OwnColumns } from "./own-columns.ts";
import { SinkFailure, type Taken } from "./target.ts";

const connectMs = 10_000;
/** Drivers that are looked up at once. */
const lookedUp = 100;

/** What a server does with a value that does not fit must never be to change it. */
const sqlMode = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

const takePartition = `
  INSERT INTO milepost_offsets (sink, topic, topic_id, \`partition\`, next_offset, epoch)
  VALUES (?, ?, ?, ?, ?, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1`;

/** A partition that another worker has taken since is not changed. */
const moveOffset = `
  UPDATE milepost_offsets SET next_offset = ?
  WHERE sink = ? AND topic_id = ? AND \`partition\` = ? AND next_offset = ? AND epoch = ?`;

const claimLetter = `
  INSERT INTO milepost_replayed
  SELECT ?, ?, ?, ?, ?, ?, ? FROM DUAL WHERE NOT EXISTS (
    SELECT 1 FROM positions
    WHERE id = ? AND ts = ? AND k_topic = ? AND k_partition = ? AND k_offset = ?)
  ON DUPLICATE KEY UPDATE dlq_offset = dlq_offset`;

const newestRows = `(
  SELECT id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ts) DIV 1000 AS ms
  FROM positions WHERE id = ? ORDER BY ts DESC LIMIT ?)`;

type RawOffset = RowDataPacket & {
  topic: string;
  topicId: string;
  partition: number;
  next: number;
  epoch: number;
};

/** `say`: how rows go is told, once. */
export function mysql(url: string, say: (line: string) => void): Database<Buffer> {
  let said = "";
  const sayOnce = (line: string): void => {
    if (line !== said) say(line);
    said = line;
  };
  return {
    connect: (options) => MysqlSession.open({ url, say: sayOnce, ...options }),
    isBadRow,
    rowReason,
    asFailure,
    // `partition` is a word of its language
    forgetCommand: ({ partition, ...rest }) =>
      deleteOffsets({ ...rest, ...(partition === undefined ? {} : { "`partition`": partition }) }),
  };
}

class MysqlSession implements Session<Buffer> {
  readonly encoder: MysqlEncoder;
  readonly #connection: Connection;
  readonly #sink: string;
  readonly #say: (line: string) => void;
  readonly #names: string;
  /** The server's own, outside transactions. */
  readonly #idleSeconds: number;
  #loads: boolean;
  /** After a LOAD that differed: the next try is by INSERT, which says which row is at fault. */
  #strict = false;

  private constructor(
    connection: Connection,
    sink: string,
    say: (line: string) => void,
    own: OwnColumn[],
    server: Server,
  ) {
    this.#connection = connection;
    this.#sink = sink;
    this.#say = say;
    this.encoder = new MysqlEncoder(own.length === 0 ? null : new OwnColumns(own));
    const names = [...columns, ...own].map(({ name }) => `\`${name.replaceAll("`", "``")}\``);
    this.#names = names.join(", ");
    this.#idleSeconds = server.idle;
    this.#loads = server.loads === 1;
    say(this.#loads ? "rows go by LOAD DATA LOCAL" : `rows go by INSERT: ${slower}`);
  }

  static async open(options: {
    url: string;
    sink: string;
    createSchema: boolean;
    say: (line: string) => void;
  }): Promise<MysqlSession> {
    const password = new URL(options.url).password === "" ? process.env.MYSQL_PWD : undefined;
    const connection = await createConnection({
      uri: options.url,
      ...(password === undefined ? {} : { password }),
      charset: "utf8mb4",
      connectTimeout: connectMs,
      keepAliveInitialDelay: limits.sinkKeepAliveMs,
      // a row that an UPDATE leaves as it is does not count
      flags: ["-FOUND_ROWS"],
    });
    // one that breaks while idle: whoever uses it next hears of it
    connection.on("error", () => {});
    try {
      await connection.query(
        `SET autocommit = 1, sql_mode = '${sqlMode}', time_zone = '+00:00', ` +
          "innodb_lock_wait_timeout = 10",
      );
      const [[server]] = await connection.query<Server[]>(
        "SELECT @@local_infile AS loads, @@wait_timeout AS idle, @@max_allowed_packet AS packet",
      );
      if (server.packet < limits.sqlPacketBytesMin) {
        throw new SinkFailure(
          `max_allowed_packet is ${server.packet}, and a statement has up to ` +
            `${limits.sqlPacketBytesMin}: SET GLOBAL max_allowed_packet = 16777216;`,
        );
      }
      if (options.createSchema) await createSchema(connection);
      const own = await findOwnColumns(connection);
      return new MysqlSession(connection, options.sink, options.say, own, server);
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async begin(): Promise<void> {
    // of a worker that stands still in it the server lets go
    const seconds = Math.ceil(limits.sinkIdleInTransactionMs / 1000);
    await this.#connection.query(`SET wait_timeout = ${seconds}`);
    await this.#connection.query("START TRANSACTION");
  }

  async commit(): Promise<void> {
    await this.#end("COMMIT");
    this.#strict = false;
  }

  async rollback(): Promise<void> {
    await this.#end("ROLLBACK");
  }

  async #end(how: "COMMIT" | "ROLLBACK"): Promise<void> {
    await this.#connection.query(how);
    await this.#connection.query(`SET wait_timeout = ${this.#idleSeconds}`);
  }

  async savepoint(): Promise<void> {
    await this.#connection.query("SAVEPOINT rows_so_far");
  }

  async rollbackToSavepoint(): Promise<void> {
    await this.#connection.query("ROLLBACK TO SAVEPOINT rows_so_far");
  }

  async put(chunks: () => Iterable<Buffer>): Promise<void> {
    const loads = this.#loads && !this.#strict;
    this.encoder.form = loads ? "lines" : "tuples";
    await (loads ? this.#load(chunks) : this.#insert(chunks));
  }

  /** LOCAL makes warnings of errors and leaves out duplicates, so what it did is looked at. */
  async #load(chunks: () => Iterable<Buffer>): Promise<void> {
    const sql =
      "LOAD DATA LOCAL INFILE 'rows' INTO TABLE positions CHARACTER SET utf8mb4 " +
      `FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' (${this.#names})`;
    const rows = Readable.from(chunks(), { highWaterMark: 1 });
    // whoever waits for the LOAD hears of it
    rows.on("error", () => {});
    const infileStreamFactory = (): Readable => rows;
    const [done] = await this.#connection.query<ResultSetHeader>({ sql, infileStreamFactory });
    const { affectedRows, warningStatus } = done;
    if (affectedRows === this.encoder.rows && warningStatus === 0) return;
    throw new LoadDiffers(
      `LOAD DATA wrote ${affectedRows} of ${this.encoder.rows} rows, ${warningStatus} warnings`,
    );
  }

  async #insert(chunks: () => Iterable<Buffer>): Promise<void> {
    const head = `INSERT INTO positions (${this.#names}) VALUES `;
    for (const chunk of chunks()) {
      // without the last comma
      const tuples = chunk.toString("utf8", 0, chunk.byteLength - 1);
      if (tuples !== "") await this.#connection.query(head + tuples);
    }
  }

  async mend(error: unknown): Promise<boolean> {
    const refused = isLoadRefused(error);
    if (!refused && !(error instanceof LoadDiffers)) return false;
    await this.rollback();
    if (refused) {
      this.#loads = false;
      this.#say(`LOAD DATA LOCAL is refused; rows go by INSERT: ${slower}`);
    }
    this.#strict = true;
    return true;
  }

  async offsets(): Promise<OffsetRow[]> {
    const [rows] = await this.#connection.query<RawOffset[]>(
      "SELECT topic, topic_id AS topicId, `partition`, next_offset AS next, epoch " +
        "FROM milepost_offsets WHERE sink = ?",
      [this.#sink],
    );
    return rows;
  }

  async take(partitions: Taken[]): Promise<OffsetRow[]> {
    // a row at a time, in the same order everywhere: nobody waits in a circle
    for (const { topic, topicId, partition, first } of inOrder(partitions)) {
      const values = [this.#sink, topic, topicId, partition, first];
      await this.#connection.query(takePartition, values);
    }
    const rows = await this.offsets();
    return rows.filter(({ topicId, partition }) => {
      return partitions.some((one) => one.topicId === topicId && one.partition === partition);
    });
  }

  async move(moves: Move[]): Promise<{ topicId: string; partition: number }[]> {
    const moved: Move[] = [];
    for (const move of inOrder(moves)) {
      const { topicId, partition, next, until, epoch } = move;
      const values = [until, this.#sink, topicId, partition, next, epoch];
      const [{ affectedRows }] = await this.#connection.query<ResultSetHeader>(moveOffset, values);
      if (affectedRows === 1) moved.push(move);
    }
    return moved;
  }

  async newest(ids: string[], each: number): Promise<{ id: string; ms: number }[]> {
    const found: { id: string; ms: number }[] = [];
    for (let at = 0; at < ids.length; at += lookedUp) {
      const some = ids.slice(at, at + lookedUp);
      const sql = some.map(() => newestRows).join(" UNION ALL ");
      const values = some.flatMap((id) => [id, each]);
      const [rows] = await this.#connection.query<RowDataPacket[]>(sql, values);
      found.push(...(rows as (RowDataPacket & { id: string; ms: number })[]));
    }
    return found.sort((a, b) => a.ms - b.ms);
  }

  async claim(letters: Letter[]): Promise<Letter[]> {
    const claimed: Letter[] = [];
    for (const letter of letters) {
      const { dlq, topic, partition, offset, received, id, ts } = letter;
      const place = [topic, partition, offset];
      const note = [dlq.topicId, dlq.partition, dlq.offset, ...place, dateTime(received)];
      const [{ affectedRows }] = await this.#connection.query<ResultSetHeader>(claimLetter, [
        ...note,
        id,
        dateTime(ts),
        ...place,
      ]);
      if (affectedRows === 1) claimed.push(letter);
    }
    return claimed;
  }

  async close(now: boolean): Promise<void> {
    // destroy() of mysql2 lets who waits wait for ever
    const { stream } = (this.#connection as unknown as { connection: Sockets }).connection;
    if (now) stream.destroy(new Error("the connection was closed"));
    else await this.#connection.end().catch(() => {});
  }
}

type Sockets = { stream: { destroy(error: Error): void } };
type Server = RowDataPacket & { loads: number; idle: number; packet: number };

const slower = "LOAD DATA LOCAL is faster (SET GLOBAL local_infile = 1)";

function inOrder<T extends { topicId: string; partition: number }>(rows: T[]): T[] {
  return [...rows].sort((a, b) => {
    return a.topicId < b.topicId ? -1 : a.topicId > b.topicId ? 1 : a.partition - b.partition;
  });
}
