/** Which database a worker writes to, and dead letters are put back into. */
import type { Database } from "../sinks/database.ts";

/** A database's client is loaded when it is the one that is asked for. */
export async function databaseOf(
  url: string,
  say: (line: string) => void,
): Promise<Database<unknown>> {
  if (url.startsWith("postgres")) return (await import("../sinks/postgres.ts")).postgres(url);
  if (url.startsWith("mongodb")) return (await import("../sinks/mongodb.ts")).mongodb(url, say);
  return (await import("../sinks/mysql.ts")).mysql(url, say);
}
