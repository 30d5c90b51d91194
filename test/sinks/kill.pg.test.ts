/** The table holds each offset exactly once. `KILLS=500` makes it a longer night. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../setup/parts.ts";
import { killWorkers } from "./kills.ts";
import { PostgresServer } from "./postgres-server.ts";

const kills = Number(process.env.KILLS ?? 40);

describe.skipIf(missing("postgresql"))("kill -9 of workers", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await new PostgresServer().start();
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
    server?.discard();
  });

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
      await killWorkers(await server.database("kills"), kills, check);
      const left = () =>
        server.query("SELECT 1 FROM pg_stat_activity WHERE application_name = 'milepost kill'");
      await expect.poll(async () => (await left()).length, { timeout: 60_000 }).toBe(0);
      expect(await check()).toBeGreaterThan(0);
    },
    kills * 10_000 + 60_000,
  );
});
