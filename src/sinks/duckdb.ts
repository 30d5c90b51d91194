/** DuckDB, which reads what a sink has written. */
import { DuckDBInstance, version } from "@duckdb/node-api";

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function duckDBVersion(): string {
  return version();
}

/** An instance of its own, with no more memory than it may have. */
export async function openDuckDB(memoryBytes: number, threads: number): Promise<DuckDBInstance> {
  const memory = `${Math.floor(memoryBytes / 2 ** 20)}MiB`;
  return DuckDBInstance.create(":memory:", { memory_limit: memory, threads: String(threads) });
}
