import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { launcher, milepost } from "./run.ts";

type Gateway = {
  child: ChildProcess;
  /** What `milepost ready` said. */
  ready: { mqtt: number; device: number; admin: number; pid: number } & Record<string, unknown>;
  stdout(): string;
  stderr(): string;
  /** Exit code and signal. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
};

/** `milepost serve` on free ports; rejects with stderr when it ends before it is ready. */
function startGateway(dataDir: string, args: string[] = []): Promise<Gateway> {
  const ports = ["mqtt", "device", "http", "kafka", "admin"].flatMap((name) => [
    `--${name}-port`,
    "0",
  ]);
  const all = [launcher, "serve", "--data-dir", dataDir, ...ports, ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      const match = /^milepost ready (\{.*\})\n/.exec(stdout);
      if (match === null) return;
      const ready = JSON.parse(match[1]);
      resolve({ child, ready, ended, stdout: () => stdout, stderr: () => stderr });
    });
    void ended.then(({ code }) => reject(new Error(`exit ${code}: ${stderr}`)));
  });
}

/** SIGTERM, then the end. */
function stopGateway(gateway: Gateway): Gateway["ended"] {
  gateway.child.kill("SIGTERM");
  return gateway.ended;
}

let dir: string;
const started: Gateway[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "milepost-serve-"));
});
afterEach(async () => {
  for (const { child, ended } of started.splice(0)) {
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(dir, { recursive: true, force: true });
});

async function start(...args: string[]): Promise<Gateway> {
  const gateway = await startGateway(dir, args);
  started.push(gateway);
  return gateway;
}

test("one line when it is up, the admin port answers, SIGTERM ends it with 0", async () => {
  const gateway = await start();
  expect(gateway.ready).toEqual({
    node: 1,
    mqtt: expect.any(Number),
    device: expect.any(Number),
    http: expect.any(Number),
    kafka: expect.any(Number),
    admin: expect.any(Number),
    cluster: null,
    pid: gateway.child.pid,
  });
  const url = `http://127.0.0.1:${gateway.ready.admin}`;
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  expect(await (await fetch(`${url}/metrics`)).text()).toContain("milepost_build_info{");
  expect(await stopGateway(gateway)).toEqual({ code: 0, signal: null });
  expect(gateway.stdout().split("\n")).toHaveLength(2);
});

test("topics through the admin port, and they survive a restart", async () => {
  const first = await start();
  const server = ["--server", `127.0.0.1:${first.ready.admin}`];
  const made = await milepost(["topics", "create", "trips", "--partitions", "3", ...server]);
  expect(made.stderr).toBe("created trips with 3 partitions\n");
  const described = await milepost(["topics", "describe", "positions", "--json", ...server]);
  const description = JSON.parse(described.stdout);
  expect(description.topic).toBe("positions");
  expect(description.config["retention.ms"]).toBe("86400000");
  expect(description.partitions).toHaveLength(16);
  expect(description.partitions[15]).toEqual({
    partition: 15,
    start: 0,
    end: 0,
    highWatermark: 0,
    leader: 1,
    leaderEpoch: expect.any(Number),
    replicas: [1],
    isr: [1],
  });
  await stopGateway(first);
  const second = await start();
  const again = ["--server", `127.0.0.1:${second.ready.admin}`];
  const list = JSON.parse((await milepost(["topics", "list", "--json", ...again])).stdout);
  expect(list.topics).toContainEqual(expect.objectContaining({ topic: "trips", partitions: 3 }));
});

test("a second gateway on the same directory exits 1 and names the first one's pid", async () => {
  const { child } = await start();
  await expect(startGateway(dir)).rejects.toThrow(
    new RegExp(`^exit 1: milepost: .*${dir}.*${child.pid}`),
  );
});

test.each(["mqtt", "device", "http", "kafka", "admin"])(
  "a %s port in use: exit 1 naming it",
  async (name) => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    const starting = startGateway(dir, [`--${name}-port`, String(port)]);
    await expect(starting).rejects.toThrow(new RegExp(`^exit 1: milepost: .*${port}`));
    other.close();
  },
);

test("Ctrl-C ends it with 0; what it opens with --insecure is said", async () => {
  const gateway = await start("--host", "0.0.0.0", "--insecure");
  expect(gateway.stderr()).toContain("--insecure opens to others");
  expect(gateway.stderr()).toContain("0.0.0.0: MQTT on any free port");
  gateway.child.kill("SIGINT");
  expect(await gateway.ended).toEqual({ code: 0, signal: null });
});

test("--regions adds the topic keyed by cell", async () => {
  const gateway = await start("--workers", "1", "--regions");
  const server = ["--server", `127.0.0.1:${gateway.ready.admin}`];
  const list = await milepost(["topics", "list", ...server]);
  expect(list.stdout).toContain("positions-by-cell");
});
