/**
 * `kill -9` at every step of a file, with two workers that write the same partitions: each offset
 * is in one file, and none is missing. `KILLS=500` makes it a longer night.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { topicsIn } from "../../src/sinks/parquet-query.ts";
import { milepost } from "../cli/run.ts";

const program = new URL("./kill-parquet-child.ts", import.meta.url).pathname;
const kills = Number(process.env.KILLS ?? 10);
const partitions = 3;
const rows = 5_000_000;
const children = new Set<ChildProcess>();
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "milepost-parquet-kill-"));
});
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

type Worker = { child: ChildProcess; atWork: Promise<void>; ended: Promise<number | null> };

/** `lines`: how far it is when it counts as at work; one tells of an opening or of files. */
function start(seed: number, lines = 1 + (seed % 5)): Worker {
  const words = [program, dir, `${partitions}`, `${rows}`, `${seed}`];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  children.add(child);
  const ended = new Promise<number | null>((resolve) => {
    child.on("exit", (code) => {
      children.delete(child);
      resolve(code);
    });
  });
  let seen = 0;
  const said = new Promise<void>((resolve) =>
    child.stdout?.on("data", (chunk) => {
      seen += String(chunk).split("\n").length - 1;
      if (seen >= lines) resolve();
    }),
  );
  return { child, atWork: Promise.race([said, ended.then(() => {})]), ended };
}

/** How many offsets are there, each once and without gaps. */
async function check(): Promise<number> {
  const sql =
    "SELECT k_partition, count(*) AS n, count(DISTINCT k_offset) AS d, min(k_offset) AS low, " +
    "max(k_offset) + 1 AS high FROM positions GROUP BY ALL";
  const { stdout, stderr } = await milepost(["query", sql, "--dir", dir, "--json"]);
  expect(stderr).toBe("");
  const found = stdout
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  for (const { n, d, low, high } of found) {
    expect({ n, d, low }).toEqual({ n: high, d: high, low: 0 });
  }
  return found.reduce((sum, { n }) => sum + n, 0);
}

test(
  `${kills} times`,
  async () => {
    let seed = Date.now() % 100_000;
    const workers = [start(seed), start(seed + 1)];
    let killed = 0;
    let checked = 0;
    while (killed < kills) {
      for (const i of workers.keys()) {
        await workers[i].atWork;
        seed += 7;
        await new Promise((resolve) => setTimeout(resolve, (seed * 7919) % 60));
        workers[i].child.kill("SIGKILL");
        if ((await workers[i].ended) === null) killed++;
        // a start that remembers nothing finds the same
        const notes = join(dir, "topic=positions", "_newest");
        if (seed % 3 === 0 && existsSync(notes)) {
          for (const name of readdirSync(notes)) rmSync(join(notes, name), { force: true });
        }
        workers[i] = start(seed);
      }
      // while they write
      if (killed % 6 === 0 && topicsIn(dir).length > 0) checked = await check();
    }
    for (const { child, ended } of workers) {
      child.kill("SIGKILL");
      await ended;
    }
    expect(await check()).toBeGreaterThanOrEqual(Math.max(checked, 1));
    const last = start(seed, 1);
    await last.atWork;
    last.child.kill("SIGSTOP");
    const left = readdirSync(join(dir, "_tmp"));
    expect(left.filter((name) => !name.includes(`-${last.child.pid}-`))).toEqual([]);
    last.child.kill("SIGKILL");
    await last.ended;
  },
  kills * 10_000 + 60_000,
);
