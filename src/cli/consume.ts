import type { Command } from "commander";
import { whole } from "./arguments.ts";
import { UsageError } from "./failure.ts";
import { defaultKafkaServer, parseServer } from "./server-address.ts";
import { parseStart, type Start } from "./start.ts";

const examples = `Examples:
  milepost consume positions                          what comes from now on, a value a line
  milepost consume positions --from earliest --json | jq .key
  milepost consume positions -e --json > all.ndjson   what is there now, then ends
  milepost consume positions --from @2026-11-21T08:30:00Z --count 10
  milepost consume events --group notes               goes on where the group notes was
`;

const afterwards = `
Without --json a line is the record's value; one that is no line of text stands as JSON.
With --group the partitions are shared with the group's other members, what was printed is
committed, and --from tells where to begin in partitions of which nothing was committed yet.
Ctrl-C ends it.
`;

export type ConsumeFlags = {
  server: string;
  group?: string;
  from?: Start;
  partition?: number;
  count?: number;
  exit?: true;
  json?: true;
};

export function register(program: Command): void {
  program
    .command("consume <TOPIC>")
    .description("print a topic's records, a line each")
    .addHelpText("before", examples)
    .addHelpText("after", afterwards)
    .option("--server <HOST:PORT>", "the gateway's Kafka port", defaultKafkaServer)
    .option("--group <G>", "as a member of this consumer group")
    .option(
      "--from <WHERE>",
      "earliest, latest, an offset, or @TIME in ms or ISO (default: latest; earliest with -e)",
      parseStart,
    )
    .option("--partition <P>", "this partition only", whole(0, 1_000_000))
    .option("--count <N>", "end after so many records", whole(1, Number.MAX_SAFE_INTEGER))
    .option("-e, --exit", "end where the topic ended when this began")
    .option("--json", "an object a line: topic, partition, offset, timestamp, key, value, headers")
    .action(consume);
}

async function consume(topic: string, flags: ConsumeFlags): Promise<void> {
  if (flags.group !== undefined && flags.partition !== undefined) {
    throw new UsageError("--partition: a group shares out the partitions itself");
  }
  if (flags.group === "") throw new UsageError("--group: expected a name");
  parseServer(flags.server, defaultKafkaServer);
  // the client takes a while to load: what needs none of it is said before
  const { Reading } = await import("./reading.ts");
  const reading = new Reading(topic, flags);
  const stop = (): void => {
    // the second Ctrl-C waits for nobody; a launcher may pass on the first one once more
    if (reading.stoppedMs !== null && performance.now() - reading.stoppedMs > 500) process.exit(1);
    reading.stop();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    await reading.run();
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
