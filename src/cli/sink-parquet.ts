/** Runs a worker that writes Parquet files until it is told to stop. */
import { Parquet } from "../sinks/parquet.ts";
import { runSink } from "./sink-run.ts";
import type { ParquetFlags } from "./sink.ts";

export async function writeParquet(flags: ParquetFlags): Promise<void> {
  const { dir, group, every: everyMs = null, roll: ageMsMax } = flags;
  await runSink(flags, new Parquet({ dir, group, everyMs, ageMsMax }));
}
