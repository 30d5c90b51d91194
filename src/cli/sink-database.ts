/** Which database a worker writes to, and dead letters are put back into. */
import type { Database } from "../sinks/database.ts";
import { Transactional } from "../sinks/transactional.ts";
import type { DatabaseFlags } from "./sink.ts";
import { runSink, say } from "./sink-run.ts";

/** A database's client is loaded when it is the one that is asked for. */
export async function databaseOf(url: string): Promise<Database<unknown>> {
  if (url.startsWith("postgres")) return (await import("../sinks/postgres.ts")).postgres(url);
  if (url.startsWith("mongodb")) return (await import("../sinks/mongodb.ts")).mongodb(url, say);
  return (await import("../sinks/mysql.ts")).mysql(url, say);
}

export async function writeDatabase(flags: DatabaseFlags): Promise<void> {
  const { url, group, every = null, createSchema = false } = flags;
  const options = { sink: group, createSchema, everyMs: every };
  await runSink(flags, new Transactional(await databaseOf(url), options));
}
