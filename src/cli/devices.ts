import { Option } from "commander";
import type { Command } from "commander";
import { cityPlans } from "../../devices/city.ts";
import type { CityName } from "../../devices/city.ts";
import { runFleet } from "../../devices/fleet.ts";
import type { Progress, Report, Transport } from "../../devices/fleet.ts";
import { positive, url, whole } from "./arguments.ts";
import { count } from "./terminal.ts";

const examples = `Examples:
  milepost devices                                     100 drivers, 1 ping a second each
  milepost devices --drivers 5000 --transport ws --batch 10
  milepost devices --drivers 1000 --hz 5 --seconds 60 --ledger acked.ndjson --json
`;

const cities = Object.keys(cityPlans) as CityName[];

type DevicesFlags = {
  drivers: number;
  hz: number;
  transport: Transport;
  mqtt: string;
  ws: string;
  qos: string;
  batch: number;
  seconds?: number;
  city: CityName;
  seed: number;
  events?: true;
  ledger?: string;
  json?: true;
};

export function register(program: Command): void {
  program
    .command("devices")
    .description(
      "simulated drivers in a city's streets, over real MQTT and WebSocket;\n" +
        "they keep what is not acknowledged and send it again after a reconnect",
    )
    .addHelpText("before", examples)
    .option("--drivers <n>", "how many", whole(1, 200_000), 100)
    .option("--hz <rate>", "pings a second, of each driver", positive, 1)
    .addOption(
      new Option("--transport <kind>", "how they connect")
        .choices(["mqtt", "ws", "both"])
        .default("both"),
    )
    .option("--mqtt <url>", "MQTT listener", url("mqtt:"), "mqtt://127.0.0.1:1883")
    .option("--ws <url>", "WebSocket listener", url("ws:", "wss:"), "ws://127.0.0.1:8081")
    .addOption(
      new Option("--qos <level>", "MQTT quality of service").choices(["0", "1"]).default("1"),
    )
    .option("--batch <n>", "pings in a message", whole(1, 1000), 1)
    .option("--seconds <s>", "stop after so long (default: at Ctrl-C)", positive)
    .addOption(new Option("--city <name>", "where they drive").choices(cities).default("blr"))
    .option("--seed <n>", "same seed, same drivers", whole(0, 2 ** 32 - 1), 1)
    .option("--events", "over MQTT, also tell when a trip begins and ends")
    .option("--ledger <file>", 'write a line per acknowledged ping: {"id","seq","ts"}')
    .option("--json", "print the closing report as JSON")
    .action(run);
}

async function run(flags: DevicesFlags): Promise<void> {
  const stop = new AbortController();
  const onSignal = () => {
    // A second Ctrl-C does not wait for answers.
    if (stop.signal.aborted) process.exit(1);
    stop.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  const show = new ProgressLines();
  try {
    const report = await runFleet(
      {
        ...flags,
        qos: flags.qos === "0" ? 0 : 1,
        seconds: flags.seconds ?? null,
        ledger: flags.ledger ?? null,
        progress: (progress) => show.progress(progress),
      },
      stop.signal,
    );
    show.end();
    process.stdout.write(flags.json ? `${JSON.stringify(report)}\n` : describe(report));
    const asked = flags.qos === "1" || flags.transport !== "mqtt";
    if (report.sent === 0 || (asked && report.acked + report.rejected === 0)) {
      const why = show.trouble === null ? "" : ` (${show.trouble})`;
      process.stderr.write(`devices: nothing was delivered${why}; milepost serve runs a gateway\n`);
      process.exitCode = 1;
    }
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}

function describe(report: Report): string {
  const { ackMs } = report;
  const again = report.resent > 0 ? `, ${count(report.resent)} sent again` : "";
  const rejected = report.rejected > 0 ? `, ${count(report.rejected)} rejected` : "";
  return (
    `${count(report.drivers)} drivers, ${report.seconds} s\n` +
    `${count(report.sent)} pings sent, ${count(report.acked)} acknowledged${rejected}, ` +
    `${count(report.unacked)} unanswered${again}\n` +
    `acknowledged after ${ackMs.p50} ms (p50), ${ackMs.p99} ms (p99), ${ackMs.max} ms (max)\n`
  );
}

/** One line on a terminal, redrawn each second; elsewhere a line each five. */
class ProgressLines {
  readonly #live = process.stderr.isTTY === true;
  #printedSeconds = 0;
  /** The newest there was. */
  trouble: string | null = null;

  progress(now: Progress): void {
    this.trouble = now.trouble ?? this.trouble;
    if (this.#live) {
      const text = line(now);
      const width = (process.stderr.columns ?? 80) - 1;
      process.stderr.write(`\r\x1b[K${text.slice(0, width)}`);
      return;
    }
    if (now.seconds - this.#printedSeconds < 4.9) return;
    this.#printedSeconds = now.seconds;
    process.stderr.write(`${line(now)}\n`);
  }

  end(): void {
    if (this.#live) process.stderr.write("\r\x1b[K");
  }
}

function line(now: Progress): string {
  const parts = [
    `${Math.round(now.seconds)} s`,
    `${count(now.connected)}/${count(now.drivers)} connected`,
    `${count(Math.round(now.sentPerSecond))} pings/s`,
    `${count(now.acked)} acked`,
    `${count(now.unacked)} in flight`,
    `p99 ${now.p99Ms.toFixed(1)} ms`,
  ];
  if (now.rejected > 0) parts.push(`${count(now.rejected)} rejected`);
  if (now.dropped > 0) parts.push(`${count(now.dropped)} never sent`);
  if (now.trouble !== null) parts.push(now.trouble);
  return parts.join("  ");
}
