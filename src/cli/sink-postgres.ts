/** Runs a worker that writes to PostgreSQL until it is told to stop. */
import { postgres } from "../sinks/postgres.ts";
import { Transactional } from "../sinks/transactional.ts";
import { runSink } from "./sink-run.ts";
import type { PostgresFlags } from "./sink.ts";

export async function writePostgres(flags: PostgresFlags): Promise<void> {
  const { url, group, every = null, createSchema = false } = flags;
  const options = { sink: group, createSchema, everyMs: every };
  await runSink(flags, new Transactional(postgres(url), options));
}
