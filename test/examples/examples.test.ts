import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { runFleet } from "../../devices/fleet.ts";
import { RunningCommand } from "../cli/run.ts";
import { TestTopics } from "../cli/topic.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";

// each service loads the client anew, which takes a second of a busy machine
vi.setConfig({ testTimeout: 120_000 });

let gateway: Gateway;
let topics: TestTopics;
let cwd: string;
const running = new Set<RunningCommand>();
beforeAll(async () => {
  gateway = await startGateway({ args: ["--regions"] });
  topics = new TestTopics(gateway.ports.kafka);
}, 60_000);
afterAll(async () => {
  await topics.close();
  await gateway.stop();
});
beforeEach(() => (cwd = mkdtempSync(join(tmpdir(), "milepost-examples-"))));
afterEach(async () => {
  for (const service of running) await service.end("SIGKILL");
  running.clear();
  rmSync(cwd, { recursive: true });
});

function start(name: string, env: Record<string, string> = {}, at = gateway): RunningCommand {
  const script = fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url));
  const KAFKA = `127.0.0.1:${at.ports.kafka}`;
  const service = new RunningCommand([], { script, cwd, env: { KAFKA, ...env } });
  running.add(service);
  return service;
}

async function committed(group: string, at = gateway): Promise<number> {
  const url = `http://127.0.0.1:${at.ports.admin}/v1/admin/groups/${group}`;
  const { offsets = [] } = (await (await fetch(url)).json()) as {
    offsets?: { committed: number }[];
  };
  return offsets.reduce((all, offset) => all + offset.committed, 0);
}

const ingest = (pings: object[]) =>
  fetch(`http://127.0.0.1:${gateway.ports.device}/v1/ingest`, {
    method: "POST",
    body: JSON.stringify(pings),
  });

test("fare: a trip that a crash cuts in two is charged whole, and once", async () => {
  const startMs = Date.now() - 600_000;
  /** A ping every 10 s, 100 m to the north of the one before. */
  const way = (driver: string, trip: string | undefined, from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => ({
      id: driver,
      ts: startMs + (from + i) * 10_000,
      lat: 12.9 + ((from + i) * 100) / 111_195,
      lon: 77.6,
      ...(trip === undefined ? {} : { trip }),
    }));
  const first = start("fare");
  // one trip ends, so that something can be committed; another is on its way
  await ingest([...way("d1", "short", 0, 12), ...way("d1", "long", 12, 24)]);
  await first.until((lines) => lines.some((line) => line.startsWith("long  1.0 km")));
  expect(first.lines).toContainEqual(expect.stringMatching(/^short {2}1\.1 km {2}₹60 in all$/));
  while ((await committed("fare")) === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  expect(await committed("fare")).toBe(12);
  await first.end("SIGKILL");
  await ingest([...way("d1", "long", 24, 36), ...way("d1", undefined, 36, 37)]);
  const second = start("fare");
  await second.until((lines) => lines.some((line) => line.includes("in all")));
  expect((await second.end("SIGINT")).code).toBe(0);
  expect(second.lines.at(-1)).toMatch(/^long {2}2\.3 km {2}₹83 in all$/);
  expect(second.stdout).not.toContain("short");
  const fares = (await topics.read("fares")).map(({ key, value }) => [
    String(key),
    JSON.parse(String(value)),
  ]);
  const amounts = fares.map(([key, { metres, fare }]) => [key, metres, fare]).toSorted();
  expect(amounts).toEqual([
    ["long", 2300, 83],
    ["short", 1100, 60],
  ]);
  expect(await committed("fare")).toBe(37);
});

test("analytics: a minute that a crash cuts in two is counted whole", async () => {
  // without any other test's pings: theirs are of the present minute
  const own = await startGateway({ args: ["--regions"] });
  const pings = new TestTopics(own.ports.kafka);
  const minute = Math.floor(Date.now() / 60_000) - 10;
  const cell = "8660145b7ffffff";
  const ping = (id: string, speed: number, minutes: number) => {
    const timestamp = (minute + minutes) * 60_000 + 5000;
    return { key: cell, value: { id, speed }, timestamp };
  };
  await pings.send("positions-by-cell", [ping("a", 10, 0), ping("b", 20, 0), ping("a", 30, 1)]);
  const first = start("analytics", {}, own);
  await first.until((lines) => lines.length === 1);
  const at = (minutes: number) => new Date((minute + minutes) * 60_000).toISOString().slice(0, 16);
  const row = { minute: at(0), cell, drivers: 2, speed: 15, pings: 2 };
  expect(JSON.parse(first.lines[0])).toEqual(row);
  while ((await committed("analytics", own)) !== 2) await new Promise((r) => setTimeout(r, 50));
  await first.end("SIGKILL");
  await pings.send("positions-by-cell", [ping("c", 40, 1), ping("a", 0, 2)]);
  const second = start("analytics", {}, own);
  await second.until((lines) => lines.length > 0);
  expect((await second.end("SIGINT")).code).toBe(0);
  await pings.close();
  await own.stop();
  expect(second.lines.map((line) => JSON.parse(line))).toEqual([
    { minute: at(1), cell, drivers: 2, speed: 35, pings: 2 },
  ]);
});

test("notify: what drivers do is told once, by services that share the work", async () => {
  const services = [start("notify"), start("notify")];
  const settled = () => services.every(({ stderr }) => stderr.includes("reads 2 partitions"));
  while (!settled()) await new Promise((r) => setTimeout(r, 50));
  const stop = new AbortController();
  const fleet = {
    drivers: 60,
    hz: 1,
    transport: "mqtt" as const,
    mqtt: `mqtt://127.0.0.1:${gateway.ports.mqtt}`,
    ws: "ws://127.0.0.1:1",
    qos: 1 as const,
    batch: 1,
    city: "blr" as const,
    ledger: null,
    events: true,
    seconds: 3,
  };
  await runFleet({ ...fleet, seed: 1 }, stop.signal);
  const told = () => services.flatMap(({ lines }) => lines);
  const events = await topics.read("events");
  expect(events.length).toBeGreaterThan(30);
  while (told().length < events.length) await new Promise((r) => setTimeout(r, 50));
  for (const service of services) expect((await service.end("SIGINT")).code).toBe(0);
  // the next start goes on where they were
  await runFleet({ ...fleet, seed: 2 }, stop.signal);
  const all = await topics.read("events");
  const third = start("notify");
  services.push(third);
  while (told().length < all.length) await new Promise((r) => setTimeout(r, 50));
  await third.end("SIGINT");
  const trips = told().map((line) => / of (\S+) with \S+: your driver is there/.exec(line)?.[1]);
  const expected = all.map(({ value }) => JSON.parse(String(value)).trip as string);
  expect(trips.toSorted()).toEqual(expected.toSorted());
});

test("a reader may be there before the first result is", async () => {
  const data = start("data", { RESULTS: join(cwd, "results.ndjson") });
  const lab = start("lab");
  const { stdout } = await start("booking", { BOOKINGS: "3" }).outcome;
  const [last] = stdout.trimEnd().split("\n").at(-1)!.split(" ");
  await data.until((lines) => lines.some((line) => line.startsWith(`${last} `)));
  expect((await data.end("SIGINT")).code).toBe(0);
  expect((await lab.end("SIGINT")).code).toBe(0);
});

test("booking, lab, data: every booking's result is kept once, through crashes", async () => {
  const RESULTS = join(cwd, "results.ndjson");
  const first = start("booking", { BOOKINGS: "60" });
  const bookings = (await first.outcome).stdout.split("\n").slice(0, -1);
  expect(bookings).toHaveLength(60);
  const firstLab = start("lab");
  const firstData = start("data", { RESULTS });
  await firstData.until((lines) => lines.length > 10);
  await firstData.end("SIGKILL");
  await firstLab.end("SIGKILL");
  const second = start("booking", { BOOKINGS: "40" });
  bookings.push(...(await second.outcome).stdout.split("\n").slice(0, -1));
  const [lab, data] = [start("lab"), start("data", { RESULTS })];
  const ids = bookings.map((line) => line.split(" ")[0]);
  // into a new file, `data` writes what others may have kept elsewhere without a commit
  const kept = () =>
    readFileSync(RESULTS, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line).booking as string)
      .filter((id) => ids.includes(id));
  while (kept().length < 100) await new Promise((resolve) => setTimeout(resolve, 50));
  expect((await lab.end("SIGTERM")).code).toBe(0);
  expect((await data.end("SIGTERM")).code).toBe(0);
  expect(kept().toSorted()).toEqual(ids.toSorted());
});

test("a service waits for a gateway that is killed, and goes on when it is back", async () => {
  const RESULTS = join(cwd, "results.ndjson");
  await start("booking", { BOOKINGS: "5" }).outcome;
  const [lab, data] = [start("lab"), start("data", { RESULTS })];
  await data.until((lines) => lines.length >= 5);
  await gateway.kill();
  await gateway.start();
  const { stdout } = await start("booking", { BOOKINGS: "5" }).outcome;
  const [last] = stdout.trimEnd().split("\n").at(-1)!.split(" ");
  await data.until((lines) => lines.some((line) => line.startsWith(`${last} `)));
  expect((await lab.end("SIGINT")).code).toBe(0);
  expect((await data.end("SIGINT")).code).toBe(0);
});

test("a topic that is not there, and an example that is none, are said", async () => {
  const script = fileURLToPath(new URL("../../bin/milepost-example", import.meta.url));
  const none = await new RunningCommand(["fares"], { script }).outcome;
  expect(none).toMatchObject({ code: 2, stdout: "" });
  expect(none.stderr).toContain("npm run example fare|analytics|notify|booking|lab|data");
  const other = await startGateway();
  const env = { KAFKA: `127.0.0.1:${other.ports.kafka}` };
  const { code, stderr } = await new RunningCommand(["analytics"], { script, env }).outcome;
  await other.stop();
  expect(code).toBe(1);
  expect(stderr).toContain("analytics: Unknown topic positions-by-cell");
});
