import type { Command } from "commander";
import { whole } from "./arguments.ts";
import { UsageError } from "./failure.ts";
import { defaultKafkaServer, parseServer } from "./server-address.ts";

const examples = `Examples:
  milepost produce bookings < orders.ndjson                    a record a line
  milepost produce bookings --key-separator : < orders.txt     lines such as o7:{"order":7}
  echo '{"do":"locate"}' | milepost produce commands --key d1
  milepost produce bookings --partition 0 --header source=cli < orders.ndjson
`;

const afterwards = `
A line is a record; an empty line is an empty one. Each is in the topic, as safe as the topic's
durability says, before this ends with 0. Lines of one key, or of one --partition, keep their
order; lines without a key are spread over the partitions. A topic that is not there is made.
Ctrl-C sends what was read and ends.
`;

export type ProduceFlags = {
  server: string;
  key?: string;
  keySeparator?: string;
  partition?: number;
  header: [string, string][];
};

export function register(program: Command): void {
  program
    .command("produce <TOPIC>")
    .description("a record for each line of stdin")
    .addHelpText("before", examples)
    .addHelpText("after", afterwards)
    .option("--server <HOST:PORT>", "the gateway's Kafka port", defaultKafkaServer)
    .option("--key <K>", "the key of every record")
    .option("--key-separator <S>", "a line is its key, this, and its value")
    .option("--partition <P>", "to this partition, whatever the key", whole(0, 1_000_000))
    .option("--header <NAME=VALUE>", "a header of every record; may be repeated", header, [])
    .action(produce);
}

function header(text: string, before: [string, string][]): [string, string][] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`--header: expected NAME=VALUE, not "${text}"`);
  return [...before, [text.slice(0, at), text.slice(at + 1)]];
}

async function produce(topic: string, flags: ProduceFlags): Promise<void> {
  const { key, keySeparator } = flags;
  if (key !== undefined && keySeparator !== undefined) {
    throw new UsageError("--key and --key-separator: a record has one key");
  }
  if (keySeparator === "") throw new UsageError("--key-separator: expected at least a character");
  parseServer(flags.server, defaultKafkaServer);
  // the client takes a while to load: what needs none of it is said before
  const { produceLines } = await import("./line-input.ts");
  await produceLines(topic, flags);
}
