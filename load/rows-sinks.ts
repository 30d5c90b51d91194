/** Ingest beside a sink that catches up: what a worker far behind costs the devices. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { PostgresServer } from "../test/sinks/postgres-server.ts";
import { type Contender, fresh } from "./contender.ts";
import { devices, faults } from "./generator.ts";
import type { Row } from "./rows.ts";
import type { Server } from "./servers.ts";

const behind = 10_000_000;
const rate = 30_000;
const launcher = fileURLToPath(new URL("../bin/milepost", import.meta.url));

/** `words`: of `milepost sink`, once what it writes to is there. */
type Target = { words: string[]; close(): Promise<void> };

function catchUp(name: string, openTarget: (dir: string) => Promise<Target>): Contender {
  const contender = fresh("milepost", 1200, async (server, { dir, seconds }) => {
    const { mqtt: port, pid } = server;
    const to = { to: "mqtt", port, pid } as const;
    for (let sent = 0; sent < behind;) {
      sent += (await devices({ ...to, devices: 100, window: 256, seconds: 5, warm: 0 })).acked;
    }
    // what was loaded is still on its way to the disk, and flushes would wait behind it
    execFileSync("sync");
    const steady = { ...to, devices: 1000, rate, seconds: Math.max(10, seconds) };
    const without = await devices(steady);
    const target = await openTarget(dir);
    const sink = spawn(
      process.execPath,
      [launcher, "sink", ...target.words, "--server", `127.0.0.1:${server.kafka}`],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    try {
      // it joins, opens its partitions and compiles what it runs
      await sleep(5000);
      const beside = await devices(steady);
      const left = await lag(server);
      return {
        figures: {
          "p50 ms": without.p50Ms,
          "p99 ms": without.p99Ms,
          "p50 beside": beside.p50Ms,
          "p99 beside": beside.p99Ms,
          "p99 ratio": beside.p99Ms / without.p99Ms,
          "left to write": left,
          "others %": (beside.othersCpuS / beside.seconds) * 100,
        },
        faults: [
          ...faults(without),
          ...faults(beside),
          ...(left < rate ? ["it had caught up before the end"] : []),
        ],
        raw: { without, beside },
      };
    } finally {
      const ended = once(sink, "exit");
      sink.kill("SIGTERM");
      await ended;
      await target.close();
    }
  });
  return { ...contender, name };
}

async function lag({ admin }: Server): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  const lines = text.match(/^milepost_consumer_group_lag\{.*$/gm) ?? [];
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function parquet(dir: string): Promise<Target> {
  const folder = mkdtempSync(join(dir, "parquet-"));
  const close = async () => rmSync(folder, { recursive: true });
  return { words: ["parquet", "--dir", folder], close };
}

async function postgres(): Promise<Target> {
  const server = await new PostgresServer().start();
  const url = await server.database("fleet");
  const close = async () => {
    await server.stop();
    server.discard();
  };
  return { words: ["postgres", "--url", url, "--create-schema"], close };
}

export const sinkRows: Row[] = [
  {
    name: "sink-catchup",
    title: "30 000 pings/s, MQTT, beside a sink that is ten million records behind",
    contenders: [catchUp("sink parquet", parquet), catchUp("sink postgres", postgres)],
    targets: [
      { of: "sink parquet", figure: "p99 ratio", atMost: 1.5 },
      { of: "sink postgres", figure: "p99 ratio", atMost: 1.5 },
    ],
  },
];
