/**
 * `milepost sink parquet`: rows a second, CPU a row, memory, bytes a row on disk, of a city's
 * drivers that send a ping a second each; from far behind, 16 partitions, one worker.
 *
 *     node load/parquet-bench.ts [--rows 2000000] [--drivers 2000] [--rounds 3] [--out FILE]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseMetrics, sum } from "../src/cli/scrape.ts";
import { startGateway } from "../test/harness/gateway.ts";
import { machine } from "./machine.ts";
import { cpuMs, peakMB, produceCity } from "./sink-rows.ts";
import { median } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "2000000" },
    drivers: { type: "string", default: "2000" },
    rounds: { type: "string", default: "3" },
    out: { type: "string" },
  },
});
const rows = Number(options.rows);
const launcher = new URL("../bin/milepost", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "parquet-bench-"));
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

type Run = {
  rowsPerSecond: number;
  cpuMicros: number;
  memoryMB: number;
  bytesPerRow: number;
  files: number;
};

const gateway = await startGateway({ args: ["--live", "off"] });
try {
  const broker = `127.0.0.1:${gateway.ports.kafka}`;
  await produceCity(broker, rows, Number(options.drivers));
  const runs: Run[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    runs.push(await write(broker, `round${round}`));
    say(JSON.stringify(runs.at(-1)));
  }
  const of = (figure: keyof Run) => Number(median(runs.map((run) => run[figure])).toFixed(2));
  const result = {
    date: new Date().toISOString(),
    row: "sink-parquet",
    title: "rows of a city's pings from the log into Parquet files, one worker, 16 partitions",
    machine: machine(dir),
    rows,
    figures: {
      "rows/s": of("rowsPerSecond"),
      "worker us/row": of("cpuMicros"),
      "worker peak MB": of("memoryMB"),
      "bytes/row": of("bytesPerRow"),
      files: of("files"),
    },
    rounds: runs,
  };
  process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(result, null, 1)}\n`);
} finally {
  await gateway.stop();
  rmSync(dir, { recursive: true });
}

/** From the assignment to the last file. Its tail waits for `--roll`. */
async function write(broker: string, name: string): Promise<Run> {
  const folder = join(dir, name);
  const words = ["sink", "parquet", "--dir", folder, "--server", broker, "--group", name];
  const args = [launcher, ...words, "--admin-port", "0", "--roll", "1s"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  const pid = child.pid as number;
  let stderr = "";
  child.stderr.on("data", (bytes) => (stderr += String(bytes)));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  while (!/ has \d+ partitions/.test(stderr)) await sleep(5);
  const began = performance.now();
  const cpu = cpuMs(pid);
  const port = /127\.0\.0\.1:(\d+)\/metrics/.exec(stderr)?.[1];
  const done = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    return sum(parseMetrics(text), "milepost_sink_rows_total");
  };
  while ((await done()) < rows) await sleep(50);
  const seconds = (performance.now() - began) / 1000;
  const cpuMicros = ((cpuMs(pid) - cpu) * 1000) / rows;
  const memoryMB = peakMB(pid);
  child.kill("SIGTERM");
  await ended;
  const sizes = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".parquet"))
    .map((file) => statSync(join(folder, file)).size);
  const bytesPerRow = sizes.reduce((all, size) => all + size, 0) / rows;
  return { rowsPerSecond: rows / seconds, cpuMicros, memoryMB, bytesPerRow, files: sizes.length };
}
