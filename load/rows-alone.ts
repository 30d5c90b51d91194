/** Rows that are no side-by-side runs of the generator: k6, a start after `kill -9`, retention. */
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Context, type Run, alone } from "./contender.ts";
import { devices, faults } from "./generator.ts";
import type { Row } from "./rows.ts";
import { type Server, missing, start } from "./servers.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// --- k6: 100 000 pings/s over WebSocket, 10 per frame ---

function missingK6(): string | null {
  const found = spawnSync("k6", ["version"]).error === undefined;
  return found
    ? missing("milepost")
    : "k6 (go install go.k6.io/k6@v1.8.1; $(go env GOPATH)/bin in PATH)";
}

async function runK6(context: Context): Promise<Run> {
  const server = await start("milepost", context);
  try {
    const summary = join(context.dir, "k6.json");
    const settings = {
      URL: `ws://127.0.0.1:${server.device}/v1/ingest`,
      BATCH: 10,
      VUS: 200,
      RATE: 10_300, // connecting and the last acknowledgements are within the time that counts
      SECONDS: Math.max(10, context.seconds),
      P99_MS: 1000,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
    const script = here("k6/ws-ingest.js");
    // Crossed thresholds are exit code 99: the figures below say which.
    await execute("k6", ["run", "--quiet", "--summary-export", summary, ...words, script], {
      GOGC: "400", // its collector else takes what the gateway needs
    });
    const { metrics } = JSON.parse(readFileSync(summary, "utf8"));
    const failed = metrics.checks.fails;
    return {
      figures: {
        "pings/s": metrics.pings_acked.rate,
        "failed checks": failed,
        "p50 ms": metrics.ack_ms.med,
        "p99 ms": metrics.ack_ms["p(99)"],
      },
      faults: failed > 0 ? [`${failed} failed checks`] : [],
      raw: metrics,
    };
  } finally {
    await server.stop();
  }
}

export const k6: Row = {
  name: "k6",
  title: "k6 over WebSocket, 10 pings per frame, 100 000 pings/s offered",
  contenders: [alone("milepost", missingK6, runK6)],
  targets: [
    { of: "milepost", figure: "pings/s", atLeast: 100_000 },
    { of: "milepost", figure: "failed checks", atMost: 0 },
  ],
};

// --- a start after kill -9 with a big log ---

const fillMsMax = 15 * 60_000;

async function runRestart(context: Context): Promise<Run> {
  mkdirSync(context.dir, { recursive: true });
  const dataDir = mkdtempSync(join(context.dir, "restart-"));
  let server: Server | null = null;
  try {
    const first = await start("milepost", { ...context, dataDir });
    const load = {
      to: "mqtt" as const,
      port: first.mqtt,
      pid: first.pid,
      devices: 100,
      window: 256,
    };
    const deadline = performance.now() + fillMsMax;
    while (diskGB(dataDir) < context.logGB && performance.now() < deadline) {
      await devices({ ...load, seconds: 8, warm: 0 });
    }
    const grown = diskGB(dataDir);
    // Killed under load: the tail has to be verified and perhaps cut.
    const running = devices({ ...load, seconds: 3, warm: 0 });
    await sleep(1500);
    process.kill(first.pid, "SIGKILL");
    await Promise.all([running, first.stop()]);

    const began = performance.now();
    server = await start("milepost", { ...context, dataDir });
    const readyS = (performance.now() - began) / 1000;
    const { mqtt, pid } = server;
    const report = await devices({
      to: "mqtt",
      port: mqtt,
      pid,
      devices: 1,
      seconds: 0.1,
      warm: 0,
    });
    const servingS = readyS + report.connectS + report.maxMs / 1000;
    return {
      figures: { "log GB": grown, "ready s": readyS, "serving s": servingS },
      faults: faults(report),
      raw: report,
    };
  } finally {
    await server?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** What the files take, not how long sparse ones are. */
function diskGB(dir: string): number {
  const { stdout } = spawnSync("du", ["-s", "-k", dir], { encoding: "utf8" });
  return (Number.parseInt(stdout, 10) * 1024) / 1e9;
}

export const restart: Row = {
  name: "restart",
  title: "serving again after kill -9 under load (--log-gb sets the size of the log)",
  contenders: [alone("milepost", () => missing("milepost"), runRestart)],
  targets: [{ of: "milepost", figure: "serving s", atMost: 5 }],
};

// --- retention ---

const turnovers = 5;

/** The log by itself, filled once and then turned over; its report's lines are `name value`. */
function turnover(batchBytes: number): (context: Context) => Promise<Run> {
  return async ({ dir }) => {
    const settings = { dir, turnovers, "log-mb": 300, "batch-bytes": batchBytes };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    const { code, stdout } = await execute(process.execPath, [here("log-bench.ts"), ...words]);
    const lines = stdout.trim().split("\n").map(namedValues);
    const rounds = lines.filter((line) => Number(line.turnover) >= 1);
    if (code !== 0 || rounds.length !== turnovers) throw new Error(`log-bench: ${stdout}`);
    const first = Number(rounds[0]["p99 ms"]);
    const last = Number(rounds[turnovers - 1]["p99 ms"]);
    const most = (name: string) => Math.max(...rounds.map((round) => Number(round[name])));
    return {
      figures: {
        "first p99": first,
        "last p99": last,
        "last/first": last / first,
        "disk/live": most("disk/live"),
        "written/live": most("written/live"),
      },
      faults: [],
      raw: lines,
    };
  };
}

function namedValues(line: string): Record<string, string> {
  const pairs = line.split("  ").map((pair) => /^(.*) (\S+)$/.exec(pair)?.slice(1) ?? [pair, ""]);
  return Object.fromEntries(pairs);
}

const sizes = { "1.5 KB batches": 1500, "8 KB batches": 8192 };

export const retention: Row = {
  name: "retention",
  title: "five turnovers of a 300 MB log; append p99 in ms, disk and written bytes over live bytes",
  contenders: Object.entries(sizes).map(([name, size]) => alone(name, () => null, turnover(size))),
  targets: Object.keys(sizes).flatMap((of) => [
    { of, figure: "last/first", atMost: 1.2 },
    { of, figure: "disk/live", atMost: 1.3 },
    { of, figure: "written/live", atMost: 4 },
  ]),
};

function execute(
  command: string,
  words: string[],
  environment: Record<string, string> = {},
): Promise<{ code: number; stdout: string }> {
  const options = { maxBuffer: 64 * 2 ** 20, env: { ...process.env, ...environment } };
  return new Promise((resolve) => {
    execFile(command, words, options, (error, stdout) => {
      resolve({ code: typeof error?.code === "number" ? error.code : error ? 1 : 0, stdout });
    });
  });
}
