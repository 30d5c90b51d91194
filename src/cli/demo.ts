import { join, relative, sep } from "node:path";
import type { Command } from "commander";
import type { Report } from "../../devices/fleet.ts";
import type { ServeOptions } from "../config/options.ts";
import { positive, whole } from "./arguments.ts";
import { Companion } from "./demo-process.ts";
import { block, bytes, compare, line, read } from "./demo-view.ts";
import type { Figures, Reading } from "./demo-view.ts";
import { parquetFolder } from "./parquet-dir.ts";
import { recipes } from "./demo-recipes.ts";
import type { Ports } from "./demo-recipes.ts";
import { writeStreets } from "./demo-streets.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { parseMetrics } from "./scrape.ts";
import { serveFlag } from "./serve-flag.ts";
import { count, styled } from "./terminal.ts";

const examples = `Examples:
  npm start
  npm start -- --drivers 500
  milepost demo --drivers 1000 --hz 2 --data-dir /var/tmp/milepost
  milepost demo --mqtt-port 0 --device-port 0 --http-port 0 --kafka-port 0 --admin-port 0
                                                                  any free ports
`;

/** Options handed on to `serve` as they are. */
const passedOn: (keyof ServeOptions)[] = [
  "mqttPort",
  "devicePort",
  "httpPort",
  "kafkaPort",
  "adminPort",
  "workers",
  "durability",
  "live",
];

/** Rates and percentiles are of so many seconds: calm, and still of the moment. */
const windowReadings = 5;
const plainLineEveryMs = 5000;
const secondSignalMs = 500;
const fleetPatienceMs = 15_000;
const gatewayPatienceMs = 31_000;
const sinkPatienceMs = 21_000;
/** Soon to be seen, and not too many files. */
const rollSeconds = 20;

type DemoFlags = { drivers: number; hz: number; seconds?: number; dataDir: string } & {
  [name: string]: unknown;
};

export function register(program: Command): void {
  const command = program
    .command("demo")
    .description("a gateway, a city of simulated drivers, and a view of both")
    .addHelpText("before", examples)
    .option("--drivers <n>", "how many drive", whole(1, 200_000), 200)
    .option("--hz <rate>", "pings a second, of each driver", positive, 1)
    .option("--seconds <s>", "stop after so long (default: at Ctrl-C)", positive)
    .option("--data-dir <dir>", "where the log lives, and Parquet files of it", "./data");
  for (const field of passedOn) command.addOption(serveFlag(field));
  command.action(async (flags: DemoFlags) => {
    process.exitCode = await new Demo(flags).run();
  });
}

class Demo {
  readonly #flags: DemoFlags;
  readonly #began = performance.now();
  readonly #stop: Promise<void>;
  readonly #companions: Companion[] = [];
  #stopping = false;

  constructor(flags: DemoFlags) {
    this.#flags = flags;
    this.#stop = new Promise((resolve) => {
      let firstMs = Infinity;
      const onSignal = () => {
        // A launcher may hand on the Ctrl-C that the terminal has sent us already.
        if (performance.now() - firstMs > secondSignalMs) this.#abandon();
        firstMs = Math.min(firstMs, performance.now());
        this.#stopping = true;
        resolve();
      };
      for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
    });
    process.on("exit", () => this.#signalAll("SIGTERM"));
  }

  async run(): Promise<number> {
    say("Starting the gateway …\n");
    const gateway = this.#start("gateway", this.#gatewayArgs());
    const ready = await Promise.race([gateway.lineAfter("milepost ready "), this.#stop]);
    if (this.#stopping) return (await gateway.stop(gatewayPatienceMs)) ?? 1;
    if (typeof ready !== "string") return this.#notStarted(gateway);
    const ports: Ports = JSON.parse(ready);
    writeStreets(this.#flags.dataDir);
    const sink = this.#start("Parquet sink", this.#sinkArgs(ports));
    const fleet = this.#start("fleet", this.#fleetArgs(ports));
    say(this.#welcome(ports));
    const view = new View(ports.admin, this.#began);
    const first = await Promise.race([
      gateway.exited.then(() => gateway),
      fleet.exited.then(() => fleet),
      this.#stop.then(() => null),
      view.run(),
    ]);
    view.close();
    return this.#end({ gateway, fleet, sink }, first ?? null, view.last);
  }

  #start(name: string, args: string[]): Companion {
    const companion = new Companion(name, args);
    this.#companions.push(companion);
    return companion;
  }

  #gatewayArgs(): string[] {
    const args = ["serve", "--data-dir", this.#flags.dataDir];
    for (const field of passedOn) {
      const option = serveFlag(field);
      const value = this.#flags[option.attributeName()];
      if (value !== undefined) args.push(option.long!, String(value));
    }
    return [...args, "--regions"];
  }

  #fleetArgs(ports: Ports): string[] {
    const { drivers, hz, seconds } = this.#flags;
    const args = ["devices", "--drivers", String(drivers), "--hz", String(hz), "--json"];
    args.push("--events", "--transport", "both", "--mqtt", `mqtt://127.0.0.1:${ports.mqtt}`);
    args.push("--ws", `ws://127.0.0.1:${ports.device}`);
    return seconds === undefined ? args : [...args, "--seconds", String(seconds)];
  }

  #sinkArgs({ kafka }: Ports): string[] {
    const dir = join(this.#flags.dataDir, parquetFolder);
    const server = `127.0.0.1:${kafka}`;
    return ["sink", "parquet", "--dir", dir, "--server", server, "--roll", `${rollSeconds}s`];
  }

  async #notStarted(gateway: Companion): Promise<number> {
    const code = await gateway.exited;
    const message = `the gateway did not start:${gateway.lastWords}`;
    throw code === 2 ? new UsageError(message) : new CommandFailure(message + wayOut(message));
  }

  #welcome(ports: Ports): string {
    const { drivers, dataDir } = this.#flags;
    const head = styled("Milepost is running", "bold");
    const what = `${count(drivers)} drivers of Bengaluru send to it, the log is in ${dataDir}`;
    const map = ports.http === null ? "off" : styled(`http://127.0.0.1:${ports.http}/`, "bold");
    const urls =
      `  the map    ${map}\n` +
      `  devices    mqtt://127.0.0.1:${ports.mqtt}   ws://127.0.0.1:${ports.device}/v1/ingest   ` +
      `http://127.0.0.1:${ports.device}\n` +
      `  readers    Kafka at 127.0.0.1:${ports.kafka}\n` +
      `  operators  http://127.0.0.1:${ports.admin}/metrics   …/livez   …/readyz\n`;
    const lines = recipes(ports, dataDir, nodeToType()).map(
      ({ title, command }) => `  ${styled(title, "bold")}\n    ${command}\n`,
    );
    return `\n${head}: ${what}\n\n${urls}\n${lines.join("")}\n  Ctrl-C stops everything.\n\n`;
  }

  /** Stops the fleet, the sink and the gateway, and sums up. `first` is who ended by itself. */
  async #end(
    { gateway, fleet, sink }: Record<"gateway" | "fleet" | "sink", Companion>,
    first: Companion | null,
    last: Figures | null,
  ): Promise<number> {
    this.#stopping = true;
    const planned = first === null || (first === fleet && this.#flags.seconds !== undefined);
    if (first === null) say("Stopping the fleet, then the gateway …\n");
    const fleetCode = await fleet.stop(first === gateway ? 0 : fleetPatienceMs);
    // where DuckDB does not load, the rest of the demo is as good without
    const filed = sink.running;
    await sink.stop(first === gateway ? 0 : sinkPatienceMs);
    const gatewayCode = await gateway.stop(gatewayPatienceMs);
    if (!planned || gatewayCode !== 0) {
      throw new CommandFailure((first === fleet ? fleet : gateway).obituary);
    }
    say(this.#summary(fleet, last) + (filed ? "" : `\n${sink.obituary}\n`));
    return first === null || fleetCode === 0 ? 0 : 1;
  }

  #summary(fleet: Companion, last: Figures | null): string {
    const { dataDir } = this.#flags;
    const size = last === null ? "" : ` (${bytes(last.logBytes)})`;
    return (
      `\nStopped cleanly. ${sentence(fleet.output)}\n` +
      `The log stays in ${dataDir}${size}. Every record of it, checked:\n` +
      `  node bin/milepost dump positions --data-dir ${dataDir}\n`
    );
  }

  /** The second Ctrl-C: nobody wants to wait. */
  #abandon(): never {
    this.#signalAll("SIGKILL");
    process.exit(1);
  }

  #signalAll(signal: NodeJS.Signals): void {
    for (const companion of this.#companions) companion.signal(signal);
  }
}

/** For who has a gateway already: what to start instead. */
function wayOut(message: string): string {
  const anyPorts = "--mqtt-port 0 --device-port 0 --http-port 0 --kafka-port 0 --admin-port 0";
  if (/ port .* in use/.test(message)) return `\nanother port: npm start -- ${anyPorts}`;
  if (message.includes("the data directory is in use")) {
    return `\na second one beside it: npm start -- --data-dir ./data2 ${anyPorts}`;
  }
  return "";
}

/** How a user runs this Node: by its path when the launcher fetched it. */
function nodeToType(): string {
  const fetched = process.execPath.includes(`${sep}.runtime${sep}`);
  return fetched ? relative(process.cwd(), process.execPath) : "node";
}

/** The fleet's report in words. */
function sentence(output: string): string {
  // Stopped before it was at work.
  if (output === "") return "No driver had set out yet.";
  const { drivers, sent, acked, rejected, unacked, ackMs, seconds }: Report = JSON.parse(output);
  const refused = rejected > 0 ? `${count(rejected)} rejected, ` : "";
  return (
    `In ${seconds} s ${count(drivers)} drivers sent ${count(sent)} pings: ` +
    `${count(acked)} acknowledged, ${refused}${count(unacked)} open; ` +
    `p50 ${ackMs.p50} ms, p99 ${ackMs.p99} ms.`
  );
}

/** The figures: redrawn in place on a terminal, else a line now and then. */
class View {
  last: Figures | null = null;
  readonly #url: string;
  readonly #began: number;
  readonly #readings: Reading[] = [];
  #drawn = 0;
  #linedMs = 0;
  #closed = false;

  constructor(adminPort: number, began: number) {
    this.#url = `http://127.0.0.1:${adminPort}/metrics`;
    this.#began = began;
  }

  /** Never ends by itself. */
  async run(): Promise<null> {
    while (!this.#closed) {
      const samples = await this.#scrape();
      if (this.#closed) break;
      if (samples !== null) this.#show(read(samples, performance.now()));
      await new Promise((resolve) => setTimeout(resolve, 1000).unref());
    }
    return null;
  }

  close(): void {
    this.#closed = true;
    if (this.#drawn > 0) process.stdout.write("\n");
  }

  async #scrape() {
    try {
      const response = await fetch(this.#url, { signal: AbortSignal.timeout(3000) });
      return response.ok ? parseMetrics(await response.text()) : null;
    } catch {
      // A gateway too busy to answer, or gone: its exit is noticed elsewhere.
      return null;
    }
  }

  #show(reading: Reading): void {
    this.#readings.push(reading);
    if (this.#readings.length > windowReadings + 1) this.#readings.shift();
    if (this.#readings.length < 2) return;
    this.last = compare(this.#readings[0], reading);
    const seconds = (reading.atMs - this.#began) / 1000;
    if (process.stdout.isTTY) this.#redraw(block(this.last, seconds));
    else if (reading.atMs - this.#linedMs >= plainLineEveryMs) {
      this.#linedMs = reading.atMs;
      process.stdout.write(`${line(this.last, seconds)}\n`);
    }
  }

  #redraw(lines: string[]): void {
    // A terminal that does not know its width says 0.
    const width = (process.stdout.columns || 80) - 1;
    const up = this.#drawn > 0 ? `\u001b[${this.#drawn}A` : "";
    const text = lines.map((row) => `\u001b[2K${row.slice(0, width)}\n`).join("");
    process.stdout.write(`${up}\r${text}`);
    this.#drawn = lines.length;
  }
}

function say(text: string): void {
  process.stdout.write(text);
}
