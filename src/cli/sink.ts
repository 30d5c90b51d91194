import { type Command, InvalidArgumentError, Option } from "commander";
import { parseDuration } from "../config/quantities.ts";
import { isReserved } from "../model/topic-config.ts";
import { whole } from "./arguments.ts";
import { UsageError } from "./failure.ts";
import { parquetDir } from "./parquet-dir.ts";
import { defaultKafkaServer, parseServer } from "./server-address.ts";
import { parseStart, type Start } from "./start.ts";

const examples = `Examples:
  milepost sink postgres --url postgres://me@db/fleet --create-schema
  milepost sink postgres --url postgres://me@db/fleet --every 10s     a row per driver and 10 s
  milepost sink mysql --url mysql://me:secret@db/fleet --create-schema
  milepost sink mongodb --url mongodb://me:secret@db/fleet --create-schema
  milepost sink parquet --dir ./data/parquet                          files for milepost query
  milepost sink kafka --brokers kafka-1:9092,kafka-2:9092             topics mirrored, as they are
  milepost sink status                                                lag, rows/s, dead letters
  milepost sink replay-dlq --url postgres://me@db/fleet               what could not be written
`;

const afterwards = `
Start as many workers as you like, on any machine: they share the topic's partitions. Rows and
offsets are written in one transaction, so each ping is in the table once, whatever is killed.
SIGTERM or Ctrl-C: the batch in flight is finished, then it ends.
`;

const writtenTwice = `
Start as many workers as you like, on any machine: they share the topic's partitions. A document's
_id is the ping's place in the log, so each is there once, whatever is killed and written again.
SIGTERM or Ctrl-C: the batch in flight is finished, then it ends.
`;

const mirrored = `
Start as many workers as you like, on any machine: they share the topics' partitions. Records keep
partition, key, headers and time; a header milepost-offset says where each stood, and a worker goes
on after the last one in the target. SIGTERM or Ctrl-C: the batch in flight is finished.
`;

const filed = `
Start as many workers as you like on folders that they share: each ping is in one file, whatever is
killed. Files appear whole, topic=T/date=D/hour=H/…, when --roll has passed; the newest one says
where to go on. SIGTERM or Ctrl-C: what is held is published, then it ends.
`;

export type SinkFlags = { server: string; group: string; topics: string[]; adminPort?: number };
type DatabaseName = "postgres" | "mysql" | "mongodb";
export type DatabaseFlags = SinkFlags & { url: string; every?: number; createSchema?: true };
export type KafkaFlags = SinkFlags & { brokers: string[] };
export type ParquetFlags = SinkFlags & { dir: string; every?: number; roll: number };
export type StatusFlags = { server: string; json?: true };
export type ReplayFlags = { url: string; server: string; from?: Start; json?: true };

export function register(program: Command): void {
  const sink = program
    .command("sink")
    .description("pings into databases, files, clusters, each once; how far that is")
    .addHelpText("before", examples);
  const add = (name: string, summary: string): Command =>
    sink
      .command(name)
      .description(summary)
      .option("--server <HOST:PORT>", "the gateway's Kafka port", defaultKafkaServer);

  const database = (name: DatabaseName, summary: string, more: string): Command =>
    add(name, summary)
      .requiredOption("--url <URL>", databases[name].form, databaseUrl(name))
      .option("--group <G>", "consumer group; also the name its offsets have", `sink-${name}`)
      .addOption(topicsOption("topics to write"))
      .option("--every <DURATION>", "one row per driver and interval, such as 10s", interval)
      .option("--create-schema", more)
      .option("--admin-port <PORT>", "metrics and health on this port of loopback; 0: any", port)
      .addHelpText("after", name === "mongodb" ? writtenTwice : afterwards)
      .action(async (flags: DatabaseFlags) => {
        check(flags);
        if (flags.group === "") throw new UsageError("--group: expected a name");
        await (await import("./sink-database.ts")).writeDatabase(flags);
      });
  const tables = "make the tables that are not there";
  database("postgres", "rows for PostgreSQL 15 or later, with TimescaleDB or without", tables);
  database("mysql", "rows for MySQL 8 or MariaDB 10.6 and later", tables);
  database("mongodb", "documents for MongoDB", "make the indexes that are not there");
  add("parquet", "Parquet files for milepost query, DuckDB, Spark: no server")
    .option("--dir <DIR>", "where the files go", parquetDir)
    .option("--group <G>", "consumer group; a folder has one", "sink-parquet")
    .addOption(topicsOption("topics to write"))
    .option("--every <DURATION>", "one row per driver and interval, such as 10s", interval)
    .addOption(
      new Option("--roll <DURATION>", "publish a file after so long, or once it is large")
        .argParser(interval)
        .default(60_000, "1m"),
    )
    .option("--admin-port <PORT>", "metrics and health on this port of loopback; 0: any", port)
    .addHelpText("after", filed)
    .action(async (flags: ParquetFlags) => {
      check(flags);
      if (flags.group === "") throw new UsageError("--group: expected a name");
      await (await import("./sink-parquet.ts")).writeParquet(flags);
    });
  add("kafka", "mirror topics into a Kafka or Redpanda cluster")
    .requiredOption("--brokers <HOST:PORT,…>", "brokers of the cluster to mirror into", brokerList)
    .option("--group <G>", "consumer group", "sink-kafka")
    .addOption(topicsOption("topics to mirror"))
    .option("--admin-port <PORT>", "metrics and health on this port of loopback; 0: any", port)
    .addHelpText("after", mirrored)
    .action(async (flags: KafkaFlags) => {
      check(flags);
      if (flags.group === "") throw new UsageError("--group: expected a name");
      await (await import("./sink-kafka.ts")).mirrorKafka(flags);
    });
  add("status", "every sink: its workers, lag, rows a second, dead letters")
    .option("--json", "print JSON")
    .action(async (flags: StatusFlags) => {
      check(flags);
      await (await import("./sink-status.ts")).showStatus(flags);
    });
  add("replay-dlq", "write dead letters straight into the table, each once")
    .requiredOption("--url <URL>", "the database, as for its sink", databaseUrl())
    .option("--from <WHERE>", "earliest, an offset, or @TIME in ms or ISO", parseStart)
    .option("--json", "print JSON")
    .action(async (flags: ReplayFlags) => {
      check(flags);
      await (await import("./sink-replay.ts")).replay(flags);
    });
}

function check({ server }: { server: string }): void {
  parseServer(server, defaultKafkaServer);
}

const port = whole(0, 65_535);

const databases: Record<DatabaseName, { form: string; pattern: RegExp }> = {
  postgres: { form: "postgres://user:password@host/database", pattern: /^postgres(ql)?:\/\// },
  mysql: {
    form: "mysql://user:password@host/database",
    pattern: /^(mysql|mariadb):\/\/[^/]+\/[^/?]/,
  },
  mongodb: {
    form: "mongodb://user:password@host/database",
    pattern: /^mongodb(\+srv)?:\/\/[^/]+\/[^/?]/,
  },
};

/** Whose URL it is; null: of none that is known. */
function databaseName(text: string): DatabaseName | null {
  const names = Object.keys(databases) as DatabaseName[];
  const name = names.find((one) => databases[one].pattern.test(text)) ?? null;
  // several hosts, as MongoDB may have, are no URL to others
  return name === "mongodb" || URL.canParse(text) ? name : null;
}

function databaseUrl(wanted?: DatabaseName): (text: string) => string {
  return (text) => {
    const name = databaseName(text);
    if (name !== null && (wanted === undefined || name === wanted)) return text;
    const forms = wanted === undefined ? Object.values(databases) : [databases[wanted]];
    const like = forms.map(({ form }) => form).join(" or ");
    throw new InvalidArgumentError(`A URL like ${like} is wanted.`);
  };
}

const topicsOption = (help: string): Option =>
  new Option("--topics <T,…>", help).argParser(topicList).default(["positions"], "positions");

function topicList(text: string): string[] {
  const topics = [...new Set(text.split(",").map((name) => name.trim()))].filter(Boolean);
  if (topics.length === 0) {
    throw new InvalidArgumentError("Names of topics are wanted, with commas between.");
  }
  const own = topics.find(isReserved);
  if (own === undefined) return topics;
  throw new InvalidArgumentError(`${own} is the gateway's own, and not for readers.`);
}

function brokerList(text: string): string[] {
  const brokers = text.split(",").map((broker) => broker.trim());
  const good = brokers.every((broker) => /^(\[[0-9a-f:]+\]|[\w.-]+):\d{1,5}$/i.test(broker));
  if (good) return brokers;
  throw new InvalidArgumentError("Brokers such as kafka-1:9092,kafka-2:9092 are wanted.");
}

function interval(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms >= 1) return ms;
  throw new InvalidArgumentError("A duration such as 500ms, 10s or 1m is wanted.");
}
