/**
 * `milepost sink postgres` against psql's `\copy` (text) of the same rows into the same table: rows
 * a second, CPU a row, memory. A city's drivers, a ping a second each; no secondary index.
 *
 *     node load/sink-bench.ts [--rows 2000000] [--drivers 2000] [--rounds 3] [--out FILE]
 *
 * Wanted: PostgreSQL's programs (`apt-get install postgresql`); it runs a server of its own.
 */
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startGateway } from "../test/harness/gateway.ts";
import { PostgresServer } from "../test/sinks/postgres-server.ts";
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
const dir = mkdtempSync(join(tmpdir(), "sink-bench-"));
const say = (line: string): void => void process.stderr.write(`${line}\n`);

type Run = { rowsPerSecond: number; cpuMicros: number; memoryMB: number };

const server = await new PostgresServer().start();
const gateway = await startGateway({ args: ["--live", "off"] });
try {
  const broker = `127.0.0.1:${gateway.ports.kafka}`;
  await produceCity(broker, rows, Number(options.drivers));
  const file = join(dir, "rows.txt");
  const sink: Run[] = [];
  const two: Run[] = [];
  const psql: Run[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    sink.push(await write(`one${round}`, 1));
    if (round === 0) copyOut(`one${round}`, file);
    psql.push(await copyIn(`one${round}`, file));
    two.push(await write(`two${round}`, 2));
    say(JSON.stringify({ sink: sink.at(-1), psql: psql.at(-1), two: two.at(-1) }));
  }
  const of = (runs: Run[], figure: keyof Run) =>
    Number(median(runs.map((r) => r[figure])).toFixed(2));
  const result = {
    date: new Date().toISOString(),
    row: "sink-postgres",
    title: "rows of a city's pings from the log into PostgreSQL, one table without a second index",
    machine: machine(dir),
    rows,
    figures: {
      "sink rows/s": of(sink, "rowsPerSecond"),
      "sink worker us/row": of(sink, "cpuMicros"),
      "sink worker peak MB": of(sink, "memoryMB"),
      "psql \\copy rows/s": of(psql, "rowsPerSecond"),
      "sink / psql": Number(
        median(sink.map((r, i) => r.rowsPerSecond / psql[i].rowsPerSecond)).toFixed(2),
      ),
      "two workers / one": Number(
        median(two.map((r, i) => r.rowsPerSecond / sink[i].rowsPerSecond)).toFixed(2),
      ),
    },
    rounds: { sink, psql, two },
  };
  process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(result, null, 1)}\n`);
} finally {
  await gateway.stop();
  await server.stop();
  server.discard();
  rmSync(dir, { recursive: true });
}

/** From the first row to the last, of workers that are told apart by nothing. */
async function write(database: string, workers: number): Promise<Run> {
  const url = await server.database(database);
  const broker = `127.0.0.1:${gateway.ports.kafka}`;
  const words = ["sink", "postgres", "--url", url, "--server", broker, "--group", database];
  // the tables are there before, so that the index can go
  const sqlDir = new URL("../src/sinks/sql/", import.meta.url);
  for (const name of ["positions", "offsets"]) {
    await server.query(readFileSync(new URL(`${name}.sql`, sqlDir), "utf8"), [], database);
  }
  await server.query("DROP INDEX positions_id_ts", [], database);
  const children = Array.from({ length: workers }, () => {
    const args = [launcher, ...words, "--admin-port", "0"];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    let stderr = "";
    child.stderr.on("data", (b) => (stderr += String(b)));
    const ended = new Promise((resolve) => child.on("exit", resolve));
    const cpuAtStart = { ms: -1 };
    return { child, ended, stderr: () => stderr, cpuAtStart };
  });
  const next = async (): Promise<number> => {
    const sql = "SELECT coalesce(sum(next_offset), 0)::int AS n FROM milepost_offsets";
    return (await server.query<{ n: number }>(sql, [], database))[0].n;
  };
  while (!children.every(({ stderr }) => / has \d+ partitions/.test(stderr()))) await sleep(5);
  const base = await next();
  const began = performance.now();
  const cpu = children.map(({ child }) => cpuMs(child.pid as number));
  while ((await next()) < rows) await sleep(50);
  const seconds = (performance.now() - began) / 1000;
  let usedMs = 0;
  let memoryMB = 0;
  for (const [i, { child }] of children.entries()) {
    usedMs += cpuMs(child.pid as number) - cpu[i];
    memoryMB = Math.max(memoryMB, peakMB(child.pid as number));
  }
  for (const { child, ended } of children) {
    child.kill("SIGTERM");
    await ended;
  }
  const done = rows - base;
  return { rowsPerSecond: done / seconds, cpuMicros: (usedMs * 1000) / done, memoryMB };
}

function copyOut(database: string, file: string): void {
  psqlDo(database, `\\copy (SELECT * FROM positions) TO '${file}'`);
  say(`${file}: ${(statSync(file).size / rows).toFixed(0)} bytes a row`);
}

async function copyIn(database: string, file: string): Promise<Run> {
  await server.query("TRUNCATE positions", [], database);
  const began = performance.now();
  psqlDo(database, `\\copy positions FROM '${file}'`);
  const seconds = (performance.now() - began) / 1000;
  return { rowsPerSecond: rows / seconds, cpuMicros: 0, memoryMB: 0 };
}

function psqlDo(database: string, command: string): void {
  execFileSync("psql", ["-q", "-d", server.urlOf(database), "-c", command]);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
