import { sinkStatuses } from "../sinks/status.ts";
import { isUnreachable } from "../uplink/kafka-errors.ts";
import { asFailure, clientOptions, unreachable } from "./kafka-client.ts";
import type { StatusFlags } from "./sink.ts";
import { count, table } from "./terminal.ts";

export async function showStatus({ server, json }: StatusFlags): Promise<void> {
  const nowMs = Date.now();
  const options = { ...clientOptions(server), clientId: "milepost-sink-status" };
  const sinks = await sinkStatuses(options, nowMs).catch((error: unknown) => {
    throw isUnreachable(error) ? unreachable(server, error) : asFailure(error, "sink status");
  });
  if (json) {
    process.stdout.write(`${JSON.stringify({ sinks })}\n`);
    return;
  }
  if (sinks.length === 0) {
    process.stderr.write("milepost: no sink has committed anything on this gateway\n");
    return;
  }
  const rows = sinks.map((sink) => [
    sink.group,
    sink.workers,
    count(sink.rowsPerSecond),
    count(sink.lag),
    sink.lagSeconds.toFixed(1),
    sink.lastCommit === null ? "-" : `${((nowMs - sink.lastCommit) / 1000).toFixed(1)} s ago`,
    count(sink.deadLettered),
  ]);
  const head = ["GROUP", "WORKERS", "ROWS/S", "LAG", "SECONDS", "LAST COMMIT", "DEAD LETTERS"];
  process.stdout.write(table(head, rows));
}
