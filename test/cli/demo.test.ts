import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFailed, test, vi } from "vitest";
import { City } from "../../devices/city.ts";
import { launcher, milepost } from "./run.ts";

// Each starts a gateway and a fleet, on machines that may be busy.
vi.setConfig({ testTimeout: 90_000 });

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "milepost-demo-"));
});
let running: Promise<unknown> | null = null;
afterEach(async () => {
  await running;
  rmSync(cwd, { recursive: true, force: true });
});

const ports = ["mqtt", "device", "http", "kafka", "admin"].map((name) => `--${name}-port`);
const anyPorts = ports.flatMap((port) => [port, "0"]);
const small = ["demo", "--drivers", "10", ...anyPorts];

/** Processes started by this one, by what they were asked to do. */
function childrenOf(pid: number): Map<string, number> {
  const children = new Map<string, number>();
  for (const entry of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      if (parent === pid) children.set(words[2], Number(entry));
    } catch {
      // It ended while we looked.
    }
  }
  return children;
}

/** Starts the demo; resolves once its fleet is at work. */
async function startDemo() {
  const child = spawn(process.execPath, [launcher, ...small], { cwd });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  onTestFailed(() => void child.kill());
  running = ended;
  const demo = { child, ended, stdout: "", stderr: "" };
  child.stdout.on("data", (chunk) => (demo.stdout += chunk));
  child.stderr.on("data", (chunk) => (demo.stderr += chunk));
  await expect.poll(() => demo.stdout, { timeout: 50_000 }).toMatch(/ [1-9]\d* acked /);
  return demo;
}

test("runs for a while, shows lines, sums up", async () => {
  const { code, stdout, stderr } = await milepost([...small, "--seconds", "7"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("Milepost is running: 10 drivers");
  const lines = ["mosquitto_pub -p ", "/v1/ingest?driver=me", "/pub?u=", "/metrics", "dump"];
  lines.push("kcat -b 127.0.0.1:", "consume positions --json --server 127.0.0.1:", "groups list");
  lines.push(`milepost query "SELECT id, count(*)`);
  lines.push("npm run example fare", "the map ", "/v1/stream?channel=driver:me", "near=");
  for (const line of lines) expect(stdout).toContain(line);
  expect(stdout).toMatch(/^\d:\d\d {2}\d+ pings\/s {2}/m);
  expect(stdout).toMatch(/Stopped cleanly\. .* 10 drivers sent 70 pings: 70 acknowledged, 0 open/);
  expect(stdout).not.toContain("\u001b");
  expect(readdirSync(cwd), "the log is where the default says").toEqual(["data"]);
  const streets = JSON.parse(readFileSync(join(cwd, "data", "basemap.geojson"), "utf8"));
  expect(streets, "the map shows where they drive").toEqual(new City("blr").geoJson());
});

test("--live off: no map, and nothing to copy that would need it", async () => {
  const args = [...small, "--live", "off", "--seconds", "2"];
  const { code, stdout, stderr } = await milepost(args, { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(/the map +off/);
  expect(stdout).toContain("/v1/ingest?driver=me");
  expect(stdout).not.toMatch(/null|v1\/stream|near=/);
});

test.skipIf(process.platform !== "linux")("Ctrl-C stops everything, in order", async () => {
  const demo = await startDemo();
  const children = childrenOf(demo.child.pid!);
  expect([...children.keys()].toSorted()).toEqual(["devices", "serve", "sink"]);
  const kafka = /Kafka at (\S+)/.exec(demo.stdout)?.[1] as string;
  const sinks = async (): Promise<object> => {
    const { stdout } = await milepost(["sink", "status", "--json", "--server", kafka]);
    return JSON.parse(stdout).sinks;
  };
  await expect.poll(sinks, { timeout: 40_000 }).toMatchObject([{ group: "sink-parquet" }]);
  demo.child.kill("SIGINT");
  expect([await demo.ended, demo.stderr]).toEqual([0, ""]);
  expect(demo.stdout).toMatch(/Stopped cleanly\..* 0 open/);
  const sql =
    "SELECT count(*) AS pings, count(DISTINCT (k_partition, k_offset)) AS places FROM positions";
  const asked = await milepost(["query", sql, "--json"], { cwd });
  const { pings, places } = JSON.parse(asked.stdout);
  expect(pings, asked.stderr).toBeGreaterThan(0);
  expect(places).toBe(pings);
  for (const pid of children.values()) expect(() => process.kill(pid, 0)).toThrow();
});

test.skipIf(process.platform !== "linux")("a gateway that dies ends it with code 1", async () => {
  const demo = await startDemo();
  const children = childrenOf(demo.child.pid!);
  process.kill(children.get("serve")!, "SIGKILL");
  expect(await demo.ended).toBe(1);
  expect(demo.stderr).toContain("the gateway ended unexpectedly (SIGKILL)");
  expect(() => process.kill(children.get("devices")!, 0)).toThrow();
});

test("a second one in the same directory is told how to start beside it", async () => {
  const demo = await startDemo();
  const { code, stderr } = await milepost(small, { cwd });
  demo.child.kill("SIGINT");
  expect(code).toBe(1);
  expect(stderr).toContain("the data directory is in use");
  expect(stderr).toContain("npm start -- --data-dir ./data2 --mqtt-port 0");
  expect(await demo.ended).toBe(0);
});

test("a port in use is named", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const port = String((taken.address() as AddressInfo).port);
  const { code, stderr } = await milepost([...small, "--mqtt-port", port], { cwd });
  taken.close();
  expect(code).toBe(1);
  expect(stderr).toContain("the gateway did not start");
  expect(stderr).toContain(port);
  expect(stderr).toContain("another port: npm start -- --mqtt-port 0");
});

test.each([
  ["--fleet", "9"],
  ["--drivers", "none"],
  ["--durability", "perhaps"],
])("%s %s is a mistake of usage", async (flag, value) => {
  const { code, stderr } = await milepost(["demo", ...anyPorts, flag, value], { cwd });
  expect([code, stderr]).toEqual([2, expect.stringContaining(flag)]);
});
