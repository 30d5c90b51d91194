/** SQL over the folder of Parquet files: each topic is a view, whose days and hours are columns. */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import type { DuckDBConnection, DuckDBInstance, DuckDBResult } from "@duckdb/node-api";
import { availableParallelism } from "node:os";
import { limits } from "../model/limits.ts";
import { topicPrefix } from "./parquet-folder.ts";
import { literal, openDuckDB } from "./duckdb.ts";
import { SinkFailure } from "./target.ts";

export type QueryResult = {
  columns: { name: string; type: string }[];
  /** Rows of values that JSON has, or else text; read as they are asked for. */
  rows: AsyncIterable<unknown[][]>;
};

export class ParquetQuery {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  readonly #topics: string[];

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection, topics: string[]) {
    this.#instance = instance;
    this.#connection = connection;
    this.#topics = topics;
  }

  static async open(dir: string): Promise<ParquetQuery> {
    const instance = await openDuckDB(limits.queryMemoryBytesMax, availableParallelism());
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    const topics = topicsIn(dir);
    for (const topic of topics) {
      // a folder's name may have what a pattern has
      const top = join(resolve(dir), `${topicPrefix}${topic}`).replace(/[[*?]/g, "[$&]");
      const files = literal(`${top}/date=*/hour=*/*.parquet`);
      await connection.run(
        `CREATE VIEW "${topic.replaceAll('"', '""')}" AS SELECT * EXCLUDE (topic) ` +
          `FROM read_parquet(${files}, hive_partitioning = true, union_by_name = true, ` +
          "hive_types = {'date': DATE, 'hour': INTEGER, 'topic': VARCHAR})",
      );
    }
    return new ParquetQuery(instance, connection, topics);
  }

  async run(sql: string): Promise<QueryResult> {
    let result: DuckDBResult;
    try {
      result = await this.#connection.stream(sql);
    } catch (error) {
      // what DuckDB means by itself is of its own catalogue
      const missing = /(Table with name .* does not exist!)(\nDid you mean .*)?/;
      const there = `$1\nThe folder has: ${this.#topics.join(", ")}`;
      throw new SinkFailure(failure(error).message.replace(missing, there));
    }
    const types = result.columnTypes();
    const columns = result.columnNames().map((name, i) => ({ name, type: String(types[i]) }));
    return { columns, rows: rowsOf(result) };
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}

async function* rowsOf(result: DuckDBResult): AsyncGenerator<unknown[][]> {
  try {
    yield* result.yieldRowsJson();
  } catch (error) {
    throw failure(error);
  }
}

function failure(error: unknown): SinkFailure {
  return new SinkFailure((error as Error).message.replace("Failed to extract statements: ", ""));
}

/** Those that have files: a view of none would fail in DuckDB's words. */
export function topicsIn(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const names = readdirSync(dir).filter((name) => name.startsWith(topicPrefix));
  return names
    .filter((name) => hasFiles(join(dir, name)))
    .map((name) => name.slice(topicPrefix.length));
}

function hasFiles(top: string): boolean {
  const dates = readdirSync(top).filter((name) => name.startsWith("date="));
  return dates.some((date) =>
    readdirSync(join(top, date)).some((hour) =>
      readdirSync(join(top, date, hour)).some((name) => name.endsWith(".parquet")),
    ),
  );
}
