import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway } from "../harness/gateway.ts";
import { launcher, milepost } from "./run.ts";

const pings = 2000;
const dir = mkdtempSync(join(tmpdir(), "milepost-dump-"));
let whileRunning: Awaited<ReturnType<typeof milepost>>;
let doctorWhileRunning: Awaited<ReturnType<typeof milepost>>;

beforeAll(async () => {
  const gateway = await startGateway({ dataDir: dir });
  const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest?driver=d1`;
  const batch = Array.from({ length: pings }, (_, seq) => {
    return { ts: Date.now(), lat: 12.9, lon: 77.6, seq };
  });
  const response = await fetch(url, { method: "POST", body: JSON.stringify(batch) });
  expect(await response.json()).toEqual({ accepted: pings, rejected: [] });
  const bad = await fetch(url, { method: "POST", body: '{"lat":99}' });
  expect(bad.status).toBe(200);
  whileRunning = await milepost(["dump", "positions", "--data-dir", dir]);
  doctorWhileRunning = await milepost(["doctor", "--data-dir", dir]);
  await gateway.stop();
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test("a running gateway's log is not read", () => {
  expect(whileRunning).toMatchObject({ code: 1, stdout: "" });
  expect(whileRunning.stderr).toMatch(/is held by process \d+/);
  expect(doctorWhileRunning.code).toBe(0);
  expect(doctorWhileRunning.stdout).toMatch(/! data directory .* held by process \d+/);
});

test("every acknowledged ping, in order, an object a line", async () => {
  const { code, stdout } = await milepost(["dump", "positions", "--data-dir", dir, "--json"]);
  expect(code).toBe(0);
  const records = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(records.map((record) => record.offset)).toEqual(
    Array.from({ length: pings }, (_, i) => i),
  );
  expect(records.map((record) => JSON.parse(record.value).seq)).toEqual(
    Array.from({ length: pings }, (_, i) => i),
  );
  expect(records[7]).toEqual({
    topic: "positions",
    partition: expect.any(Number),
    offset: 7,
    timestamp: expect.any(Number),
    key: "d1",
    value: expect.stringMatching(/^\{"id":"d1",/),
    headers: [],
    leaderEpoch: 0,
  });
  const { partition } = records[0];
  const only = await milepost(["dump", "positions", "--data-dir", dir, "--partition", "0"]);
  expect(only.stdout.split("\n")).toHaveLength(partition === 0 ? pings + 1 : 1);
});

test("rejects with their reason; lines for people have tabs", async () => {
  const json = await milepost(["dump", "rejects", "--data-dir", dir, "--json"]);
  const { headers, value } = JSON.parse(json.stdout);
  expect([headers[0], value]).toEqual([["reason", "bad_position"], '{"lat":99}']);
  const people = await milepost(["dump", "rejects", "--data-dir", dir]);
  expect(people.stdout).toMatch(/^\d\t0\t\d{4}-\d\d-\d\dT[\d:.]+Z\td1\t\{"lat":99\}\n$/);
});

test("a reader that has seen enough ends it quietly", () => {
  const line = `"${process.execPath}" "${launcher}" dump positions --data-dir "${dir}" | head -1`;
  const { stdout, stderr } = spawnSync("sh", ["-c", line], { encoding: "utf8" });
  expect([stdout.split("\n").length, stderr]).toEqual([2, ""]);
});

test.each([
  [["none", "--data-dir", dir], 1, "no such topic: none"],
  [["positions", "--data-dir", join(dir, "none")], 1, "there is no directory"],
  [["positions", "--data-dir", dir, "--partition", "99"], 1, "no such partition: positions/99"],
  [["positions", "--data-dir", dir, "--partition", "x"], 2, "--partition: expected a number"],
  [["positions"], 2, "--data-dir"],
])("dump %j exits %i: %s", async (args, exit, message) => {
  const { code, stderr } = await milepost(["dump", ...args]);
  expect([code, stderr]).toEqual([exit, expect.stringContaining(message)]);
});

test("doctor finds every checksum right, then the flipped bit, and dump stops there", async () => {
  const sound = await milepost(["doctor", "--data-dir", dir]);
  expect([sound.code, sound.stdout]).toEqual([0, expect.stringContaining("checksum of")]);

  const folder = readdirSync(join(dir, "topics")).find((name) =>
    /^positions-[0-9a-f]+$/.test(name),
  );
  const file = join(dir, "topics", folder!, "0000000001.mdb");
  const bytes = readFileSync(file);
  const at = bytes.indexOf('"seq":1000}');
  expect(at).toBeGreaterThan(0);
  bytes[at + 6] ^= 1;
  writeFileSync(file, bytes);

  const damaged = await milepost(["doctor", "--data-dir", dir, "--json"]);
  const { ok, checks } = JSON.parse(damaged.stdout);
  expect([damaged.code, ok]).toEqual([1, false]);
  const failed = checks.filter((check: { state: string }) => check.state === "failed");
  expect(failed).toHaveLength(1);
  expect(failed[0].detail).toMatch(/^positions\/\d+ at offset \d+ in /);
  expect(failed[0].detail).toContain(file);

  const dumped = await milepost(["dump", "positions", "--data-dir", dir, "--json"]);
  expect(dumped.code).toBe(1);
  expect(dumped.stderr).toMatch(/positions\/\d+ at offset \d+ in .*checksum/);
  expect(dumped.stdout).not.toContain('"seq\\":1001}');
});
