/** The table holds each offset exactly once. `KILLS=500` makes it a longer night. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { missing } from "../setup/parts.ts";
import { killWorkers } from "./kills.ts";
import { MariadbServer } from "./mariadb-server.ts";

const kills = Number(process.env.KILLS ?? 4);

describe.skipIf(missing("mariadb"))("kill -9 of workers that write to MariaDB", () => {
  let server: MariadbServer;

  beforeAll(async () => {
    server = await new MariadbServer().start();
  }, 60_000);
  afterAll(async () => {
    await server?.stop("SIGKILL");
    server?.discard();
  });

  async function check(): Promise<number> {
    const found = await server.query(
      `SELECT count(k_offset) AS n, count(DISTINCT k_offset) AS d,
        coalesce(min(k_offset), 0) AS low, coalesce(max(k_offset) + 1, 0) AS high,
        next_offset AS next
      FROM milepost_offsets LEFT JOIN positions ON k_partition = \`partition\`
      GROUP BY \`partition\`, next_offset`,
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
      const left = async () => {
        const of = await server.query("SHOW PROCESSLIST");
        return of.filter(({ db }) => db === "kills").length;
      };
      await expect.poll(left, { timeout: 60_000 }).toBe(0);
      expect(await check()).toBeGreaterThan(0);
    },
    kills * 10_000 + 60_000,
  );
});
