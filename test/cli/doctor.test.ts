import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { milepost } from "./run.ts";

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "milepost-doctor-"));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

type Report = { ok: boolean; checks: { name: string; state: string; detail: string }[] };

async function doctor(...args: string[]): Promise<{ code: number | null; report: Report }> {
  const { code, stdout } = await milepost(["doctor", "--json", ...args], { cwd });
  return { code, report: JSON.parse(stdout) };
}

const found = (report: Report, name: string) => report.checks.find((check) => check.name === name);

test("a machine the tests run on is a machine the gateway runs on", async () => {
  const { code, report } = await doctor();
  expect(report.checks.filter((check) => check.state === "failed")).toEqual([]);
  expect([code, report.ok]).toEqual([0, true]);
  for (const name of ["node", "lmdb", "crc32", "uWebSockets.js", "disk space", "clock"]) {
    expect(found(report, name)).toMatchObject({ state: "ok" });
  }
  expect(existsSync(join(cwd, "data")), "doctor makes nothing").toBe(false);
});

test("a line a check, ✓ or ✗, without colour when piped", async () => {
  writeFileSync(join(cwd, "milepost.toml"), "mqtt-prot = 1\n");
  const { code, stdout, stderr } = await milepost(["doctor"], { cwd });
  expect([code, stderr]).toEqual([1, ""]);
  expect(stdout).toMatch(/^✓ node +v\d+/);
  expect(stdout).toContain("✗ configuration");
  expect(stdout).toContain("unknown key mqtt-prot; did you mean mqtt-port?");
  expect(stdout).not.toContain("\u001b");
});

test("the configuration is the one named, its data directory the one examined", async () => {
  const config = join(cwd, "other.toml");
  writeFileSync(config, 'data-dir = "log"\n');
  const { report } = await doctor("--config", config);
  expect(found(report, "configuration")).toMatchObject({ state: "ok", detail: config });
  expect(found(report, "disk space")?.detail).toContain(cwd);
});

test("a disk below its watermark fails", async () => {
  writeFileSync(join(cwd, "milepost.toml"), 'disk-min = "8000TiB"\n');
  const { code, report } = await doctor();
  expect([code, found(report, "disk space")?.state]).toEqual([1, "failed"]);
});

test.skipIf(!existsSync("/dev/shm"))("memory in place of a disk is a warning", async () => {
  const { code, report } = await doctor("--data-dir", "/dev/shm/milepost-is-not-here");
  expect(found(report, "file system")).toMatchObject({ state: "warning" });
  expect(code).toBe(report.ok ? 0 : 1);
});
