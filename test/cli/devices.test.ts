import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { unsteadyBroker, unsteadyIngest } from "../devices/unsteady.ts";
import { milepost } from "./run.ts";

const dir = mkdtempSync(join(tmpdir(), "milepost-devices-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("--json: the report and nothing else on stdout, and a ledger", async () => {
  const broker = await unsteadyBroker({ cut: 0, lateMs: 0 });
  const ingest = await unsteadyIngest({ cut: 0, lateMs: 0 });
  const ledger = join(dir, "ledger");
  const ports = ["--mqtt", `mqtt://127.0.0.1:${broker.port}`];
  ports.push("--ws", `ws://127.0.0.1:${ingest.port}`);
  const args = ["devices", "--drivers", "10", "--hz", "10", "--seconds", "1", "--json"];
  const { code, stdout } = await milepost([...args, ...ports, "--ledger", ledger]);
  await Promise.all([broker.close(), ingest.close()]);
  expect(code).toBe(0);
  const report = JSON.parse(stdout);
  expect(Object.keys(report)).toEqual(
    "drivers sent acked resent rejected unacked ackMs seconds".split(" "),
  );
  expect(Object.keys(report.ackMs)).toEqual(["p50", "p99", "max"]);
  expect(report).toMatchObject({ drivers: 10, sent: 100, acked: 100, unacked: 0, seconds: 1 });
  const lines = readFileSync(ledger, "utf8").split("\n");
  expect(lines.length).toBe(101);
  expect(Object.keys(JSON.parse(lines[0]))).toEqual(["id", "seq", "ts"]);
});

test("without --json the report is for people", async () => {
  const broker = await unsteadyBroker({ cut: 0, lateMs: 0 });
  const mqtt = `mqtt://127.0.0.1:${broker.port}`;
  const args = ["devices", "--drivers", "5", "--seconds", "1", "--transport", "mqtt"];
  const { code, stdout, stderr } = await milepost([...args, "--mqtt", mqtt]);
  await broker.close();
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("5 pings sent, 5 acknowledged, 0 unanswered");
});

test.each([
  ["--drivers", "0"],
  ["--hz", "-1"],
  ["--transport", "pigeon"],
  ["--mqtt", "http://127.0.0.1"],
  ["--fleet", "9"],
])("%s %s is a mistake of usage", async (flag, value) => {
  const { code, stdout, stderr } = await milepost(["devices", flag, value]);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain(flag);
});

test("help begins with examples", async () => {
  const { code, stdout } = await milepost(["devices", "--help"]);
  expect(code).toBe(0);
  expect(stdout.startsWith("Examples:\n  milepost devices")).toBe(true);
});
