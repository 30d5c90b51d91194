import type { Command } from "commander";
import type { TopicDescription } from "../admin/backend.ts";
import { callAdmin } from "./admin-client.ts";
import { UsageError } from "./failure.ts";
import { defaultAdminServer } from "./server-address.ts";
import { confirm, table } from "./terminal.ts";

type Flags = {
  server: string;
  json?: true;
  partitions?: string;
  config?: string[];
  yes?: true;
};

const examples = `Examples:
  milepost topics list
  milepost topics describe positions --json
  milepost topics create trips --partitions 8 --config retention.ms=3600000
  milepost topics alter trips --partitions 16 --config cleanup.policy=compact
  milepost topics alter trips --config retention.ms=      (back to its default)
  milepost topics delete trips --yes
  milepost topics skip-damage trips/3 --yes   (readers pass over what fails its checksum)
`;

export function register(program: Command): void {
  const topics = program
    .command("topics")
    .description("list, describe, create, alter and delete topics; pass over damage")
    .addHelpText("before", examples);
  const add = (usage: string, summary: string): Command =>
    topics
      .command(usage)
      .description(summary)
      .option("--server <HOST:PORT>", "the gateway's admin port", defaultAdminServer)
      .option("--json", "print JSON");
  const partitions: [string, string] = ["--partitions <N>", "how many partitions"];

  add("list", "every topic, with the settings that were made").action(list);
  add("describe <NAME>", "settings with their defaults, and every partition").action(describe);
  add("create <NAME>", "make a topic")
    .option(partitions[0], `${partitions[1]} (default: 4)`)
    .option("--config <k=v>", "a setting; may be repeated", collect)
    .action(create);
  add("alter <NAME>", "change settings, or add partitions")
    .option(partitions[0], `${partitions[1]} there shall be in all; never fewer than there are`)
    .option("--config <k=v>", "a setting; `k=` takes it back to its default; repeatable", collect)
    .action(alter);
  add("delete <NAME>", "delete a topic and its records")
    .option("--yes", "do not ask; needed where there is no terminal to ask on")
    .action(remove);
  add("skip-damage <TOPIC/PARTITION>", "move readers past the first bytes that fail their checksum")
    .option("--yes", "needed: what is skipped is not read again")
    .action(skipDamage);
}

async function list(flags: Flags): Promise<void> {
  const answer = (await callAdmin(flags.server, "GET", "/v1/admin/topics")) as {
    topics: { topic: string; partitions: number; config: Record<string, string> }[];
  };
  if (flags.json) return printJson(answer);
  const rows = answer.topics.map(({ topic, partitions, config }) => {
    const settings = Object.entries(config).map(([key, value]) => `${key}=${value}`);
    return [topic, partitions, settings.join(" ")];
  });
  process.stdout.write(table(["TOPIC", "PARTITIONS", "SETTINGS"], rows));
}

async function describe(name: string, flags: Flags): Promise<void> {
  const answer = (await callAdmin(flags.server, "GET", path(name))) as TopicDescription;
  if (flags.json) return printJson(answer);
  const settings = Object.entries(answer.config);
  const rows = answer.partitions.map((p) => [
    p.partition,
    p.start,
    p.end,
    p.highWatermark,
    p.leader,
    p.leaderEpoch,
    p.replicas.join(","),
    p.isr.join(","),
  ]);
  const head = ["PARTITION", "START", "END", "WATERMARK", "LEADER", "EPOCH", "REPLICAS", "ISR"];
  process.stdout.write(`${table(["SETTING", "VALUE"], settings)}\n${table(head, rows)}`);
}

async function create(name: string, flags: Flags): Promise<void> {
  const config = parseConfig(flags.config ?? []);
  const unset = Object.keys(config).find((key) => config[key] === null);
  if (unset !== undefined) throw new UsageError(`--config ${unset}=: expected a value`);
  const body = { topic: name, partitions: parsePartitions(flags), config };
  const answer = (await callAdmin(
    flags.server,
    "POST",
    "/v1/admin/topics",
    body,
  )) as TopicDescription;
  if (flags.json) return printJson(answer);
  process.stderr.write(`created ${name} with ${answer.partitions.length} partitions\n`);
}

async function alter(name: string, flags: Flags): Promise<void> {
  const config = parseConfig(flags.config ?? []);
  const partitions = parsePartitions(flags);
  if (partitions === undefined && Object.keys(config).length === 0) {
    throw new UsageError("nothing to change: give --partitions N or --config k=v");
  }
  const answer = await callAdmin(flags.server, "PATCH", path(name), { partitions, config });
  if (flags.json) return printJson(answer);
  process.stderr.write(`altered ${name}\n`);
}

async function remove(name: string, flags: Flags): Promise<void> {
  if (!flags.yes) {
    const sure = await confirm(`Delete topic ${name} and all its records?`);
    if (sure === null) throw new UsageError("deleting a topic deletes its records: say --yes");
    if (!sure) {
      process.stderr.write("not deleted\n");
      process.exitCode = 1;
      return;
    }
  }
  await callAdmin(flags.server, "DELETE", `${path(name)}?confirm=${encodeURIComponent(name)}`);
  if (flags.json) return printJson({ topic: name, deleted: true });
  process.stderr.write(`deleted ${name}\n`);
}

async function skipDamage(place: string, flags: Flags): Promise<void> {
  const match = /^(.+)\/(\d{1,5})$/.exec(place);
  if (match === null) throw new UsageError(`expected TOPIC/PARTITION, not "${place}"`);
  if (!flags.yes) throw new UsageError("what is skipped is not read again: say --yes");
  const url = `${path(match[1])}/skip-damage`;
  const body = { partition: Number(match[2]) };
  const answer = (await callAdmin(flags.server, "POST", url, body)) as { from: number; to: number };
  if (flags.json) return printJson(answer);
  process.stderr.write(`${place}: readers skip offsets ${answer.from} to ${answer.to}\n`);
}

function path(name: string): string {
  return `/v1/admin/topics/${encodeURIComponent(name)}`;
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `k=v` → setting; `k=` → null, its default. */
function parseConfig(texts: string[]): Record<string, string | null> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf("=");
      if (at < 1) throw new UsageError(`--config: expected key=value, not "${text}"`);
      return [text.slice(0, at).trim(), text.slice(at + 1).trim() || null];
    }),
  );
}

function parsePartitions({ partitions }: Flags): number | undefined {
  if (partitions === undefined) return undefined;
  if (/^[1-9]\d{0,8}$/.test(partitions)) return Number(partitions);
  throw new UsageError(`--partitions: expected a number, not "${partitions}"`);
}
