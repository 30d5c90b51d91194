import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build } from "../../load/build.ts";
import type { Report } from "../../load/generator.ts";

const run = promisify(execFile);
const built = build("devices");
const title = "path" in built ? "the device generator" : `the device generator: ${built.missing}`;

type Floor = { child: ChildProcess; port: Promise<number> };

function floor(name: string): Floor {
  const path = fileURLToPath(new URL(`../../load/${name}`, import.meta.url));
  const child = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const port = new Promise<number>((resolve, reject) => {
    lines.once("line", (line) => resolve(JSON.parse(line).port));
    child.once("exit", (code) => reject(new Error(`${name} exited with ${code}`)));
  });
  return { child, port };
}

async function devices(...options: string[]): Promise<Report> {
  if (!("path" in built)) throw new Error("not built");
  const { stdout } = await run(built.path, [...options, "--warm", "0", "--seconds", "1", "--json"]);
  return JSON.parse(stdout);
}

describe.skipIf("missing" in built)(title, () => {
  let net: Floor;
  let uws: Floor;
  beforeAll(async () => {
    net = floor("floor-net.ts");
    uws = floor("floor-uws.ts");
    await Promise.all([net.port, uws.port]);
  });
  afterAll(() => {
    net.child.kill();
    uws.child.kill();
  });

  const shapes = [
    ["closed loop, one message at a time", "--devices", "50"],
    ["closed loop, pipelined", "--devices", "5", "--window", "64"],
    ["open loop", "--devices", "50", "--rate", "2000"],
    ["open loop in bursts", "--devices", "50", "--rate", "2000", "--burst", "10"],
    ["20 pings in a message", "--devices", "50", "--rate", "500", "--pings", "20"],
  ];
  it.each(shapes)("has every send acknowledged: %s", async (_, ...options) => {
    for (const [to, port] of [
      ["mqtt", await net.port],
      ["echo", await uws.port],
    ]) {
      const report = await devices("--to", `${to}`, "--port", `${port}`, ...options);
      expect(report.sent).toBeGreaterThan(100);
      expect(report).toMatchObject({ acked: report.sent, unacked: 0, closed: 0, disorder: 0 });
      expect(report.p99Ms).toBeGreaterThan(0);
    }
  });

  it("adds the server's CPU and memory", async () => {
    const pid = `${net.child.pid}`;
    const load = ["--to", "mqtt", "--port", `${await net.port}`, "--devices", "50"];
    const report = await devices(...load, "--server-pid", pid);
    expect(report.serverCpuS).toBeGreaterThan(0);
    expect(report.serverRssBytes[1]).toBeGreaterThan(1e6);
  });

  it("says so when nobody listens", async () => {
    const { path } = built as { path: string };
    const wrong = run(path, ["--to", "mqtt", "--port", "1", "--devices", "1", "--seconds", "1"]);
    await expect(wrong).rejects.toMatchObject({ code: 1 });
  });
});
