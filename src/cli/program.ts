import { Command } from "commander";
import { version } from "../version.ts";
import { printFailure } from "./failure.ts";

type CommandModule = { register(program: Command): void };

/** A command's module is loaded when it is called for, so that `--help` is there at once. */
const commands: { name: string; summary: string; load: () => Promise<CommandModule> }[] = [
  { name: "serve", summary: "run the gateway", load: () => import("./serve.ts") },
  {
    name: "demo",
    summary: "a gateway, a city of simulated drivers, and a view of both",
    load: () => import("./demo.ts"),
  },
  {
    name: "devices",
    summary: "simulated drivers that send to a gateway",
    load: () => import("./devices.ts"),
  },
  {
    name: "topics",
    summary: "list, describe, create, alter and delete topics",
    load: () => import("./topics.ts"),
  },
  {
    name: "groups",
    summary: "list, describe, reset and delete consumer groups",
    load: () => import("./groups.ts"),
  },
  {
    name: "produce",
    summary: "a record for each line of stdin",
    load: () => import("./produce.ts"),
  },
  {
    name: "consume",
    summary: "print a topic's records, a line each",
    load: () => import("./consume.ts"),
  },
  {
    name: "sink",
    summary: "pings into databases, files, clusters, each once; how far that is",
    load: () => import("./sink.ts"),
  },
  {
    name: "query",
    summary: "SQL over the Parquet files of a sink",
    load: () => import("./query.ts"),
  },
  {
    name: "dump",
    summary: "every record of a stopped gateway's log",
    load: () => import("./dump.ts"),
  },
  {
    name: "doctor",
    summary: "check the machine, the data directory and the configuration",
    load: () => import("./doctor.ts"),
  },
];

const examples = `Examples:
  milepost serve                            a gateway on this machine, log in ./data
  milepost devices --drivers 1000           a city's drivers to send to it
  milepost topics list                      what it keeps
  milepost consume positions                each ping as it comes
  milepost query "SELECT * FROM positions"  SQL over what sink parquet wrote
  milepost doctor --data-dir ./data         is everything in order?
`;

/** Runs one command line and gives back its exit code: 0 done, 1 failed, 2 usage. */
export async function run(args: string[]): Promise<number> {
  const program = new Command("milepost")
    .description(
      "Fleet telemetry gateway: GPS pings in over MQTT, WebSocket and HTTP, safe in a log",
    )
    .version(version, "-V, --version")
    .helpOption("-h, --help", "this help")
    .helpCommand("help [command]", "help on a command")
    .addHelpText("before", examples)
    .exitOverride();
  const words = args.filter((arg) => !arg.startsWith("-"));
  const called = words[0] === "help" ? words[1] : words[0];
  try {
    for (const { name, summary, load } of commands) {
      if (name === called) (await load()).register(program);
      else program.command(name).description(summary);
    }
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    return printFailure(error);
  }
}
