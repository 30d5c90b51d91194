/** Runs a worker that writes to a database until it is told to stop. */
import { Transactional } from "../sinks/transactional.ts";
import { databaseOf } from "./database-of.ts";
import type { DatabaseFlags } from "./sink.ts";
import { runSink, say } from "./sink-run.ts";

export async function writeDatabase(flags: DatabaseFlags): Promise<void> {
  const { url, group, every = null, createSchema = false } = flags;
  const options = { sink: group, createSchema, everyMs: every };
  await runSink(flags, new Transactional(await databaseOf(url, say), options));
}
