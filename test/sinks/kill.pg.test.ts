/**
 * `kill -9` at every step of a batch, with two workers that take each other's partitions: the table
 * holds each offset exactly once. `KILLS=500` makes it a longer night.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../setup/parts.ts";
import { PostgresServer } from "./postgres-server.ts";

const program = new URL("./kill-child.ts", import.meta.url).pathname;
const kills = Number(process.env.KILLS ?? 40);
const partitions = 3;
const rows = 200_000;

describe.skipIf(missing("postgresql"))("kill -9 of workers", () => {
  let server: PostgresServer;
  const children = new Set<ChildProcess>();

  beforeAll(async () => {
    server = await new PostgresServer().start();
  }, 60_000);
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await server?.stop();
    server?.discard();
  });

  type Worker = { child: ChildProcess; opened: Promise<void>; ended: Promise<number | null> };

  function start(seed: number): Worker {
    const words = [program, server.urlOf("kills"), `${partitions}`, `${rows}`, `${seed}`];
    const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
    children.add(child);
    const ended = new Promise<number | null>((resolve) => {
      child.on("exit", (code) => {
        children.delete(child);
        resolve(code);
      });
    });
    const opened = new Promise<void>((resolve) => child.stdout?.once("data", () => resolve()));
    return { child, opened: Promise.race([opened, ended.then(() => {})]), ended };
  }

  async function check(): Promise<number> {
    const found = await server.query<{
      n: number;
      d: number;
      low: number;
      high: number;
      next: number;
    }>(
      `SELECT count(k_offset)::int AS n, count(DISTINCT k_offset)::int AS d,
        coalesce(min(k_offset), 0)::int AS low, coalesce(max(k_offset) + 1, 0)::int AS high,
        next_offset::int AS next
      FROM milepost_offsets LEFT JOIN positions ON k_partition = partition
      GROUP BY partition, next_offset`,
      [],
      "kills",
    );
    for (const { n, d, low, high, next } of found) {
      expect({ n, d, low, high }).toEqual({ n: next, d: next, low: 0, high: next });
    }
    return found.reduce((sum, { next }) => sum + next, 0);
  }

  test(
    `${kills} times`,
    async () => {
      await server.database("kills");
      let seed = Date.now() % 100_000;
      const workers = [start(seed), start(seed + 1)];
      let killed = 0;
      while (killed < kills) {
        for (const i of workers.keys()) {
          await workers[i].opened;
          seed += 7;
          await new Promise((resolve) => setTimeout(resolve, (seed * 7919) % 300));
          workers[i].child.kill("SIGKILL");
          if ((await workers[i].ended) === null) killed++;
          workers[i] = start(seed);
        }
        if (killed % 10 === 0) await check();
      }
      for (const { child, ended } of workers) {
        child.kill("SIGKILL");
        await ended;
      }
      await expect
        .poll(
          async () =>
            (
              await server.query(
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'milepost kill'",
              )
            ).length,
          { timeout: 60_000 },
        )
        .toBe(0);
      expect(await check()).toBeGreaterThan(0);
    },
    kills * 10_000 + 60_000,
  );
});
