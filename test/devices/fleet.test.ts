import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runFleet } from "../../devices/fleet.ts";
import type { FleetOptions, Report } from "../../devices/fleet.ts";
import { unsteadyBroker, unsteadyIngest } from "./unsteady.ts";
import type { Taken } from "./unsteady.ts";

const dir = mkdtempSync(join(tmpdir(), "fleet-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
let files = 0;

type Line = { id: string; seq: number; ts: number };

async function run(
  given: Partial<FleetOptions>,
  signal = new AbortController().signal,
): Promise<{ report: Report; lines: Line[] }> {
  const ledger = join(dir, `ledger-${files++}`);
  const report = await runFleet(
    {
      drivers: 20,
      hz: 40,
      transport: "mqtt",
      mqtt: "mqtt://127.0.0.1:1",
      ws: "ws://127.0.0.1:1",
      qos: 1,
      batch: 1,
      seconds: 2,
      city: "blr",
      seed: 1,
      ledger,
      ...given,
    },
    signal,
  );
  const lines = readFileSync(ledger, "utf8").split("\n").slice(0, -1);
  return { report, lines: lines.map((line) => JSON.parse(line)) };
}

function byDriver(lines: Line[]): Map<string, number[]> {
  const seqs = new Map<string, number[]>();
  for (const { id, seq } of lines) seqs.set(id, [...(seqs.get(id) ?? []), seq]);
  return seqs;
}

/** What must hold between a fleet's word and what a server took, once all is acknowledged. */
function expectComplete(report: Report, lines: Line[], taken: Taken, sent: number): void {
  expect(report.sent).toBe(sent);
  expect(report.unacked).toBe(0);
  expect(report.acked + report.rejected).toBe(sent);
  expect(lines.length).toBe(report.acked);
  const ledger = byDriver(lines);
  let arrivals = 0;
  for (const [driver, seqs] of taken.seqs) {
    arrivals += seqs.length;
    const first = [...new Set(seqs)];
    // First occurrences in the order sent, no gap: 1, 2, 3, …
    expect(first).toEqual(first.map((_, k) => k + 1));
    const acked = ledger.get(driver) ?? [];
    expect(acked).toEqual([...new Set(acked)].toSorted((a, b) => a - b));
    expect(first).toEqual(expect.arrayContaining(acked));
  }
  expect(arrivals).toBeLessThanOrEqual(report.sent + report.resent);
}

test("events of trips go the same way as pings, and are not counted among them", async () => {
  const broker = await unsteadyBroker({ cut: 0.02, lateMs: 3 });
  const mqtt = `mqtt://127.0.0.1:${broker.port}`;
  const { report, lines } = await run({ mqtt, events: true, batch: 3 });
  await broker.close();
  expectComplete(report, lines, broker.taken, 1600);
  const events = [...new Set(broker.taken.events)].map((text) => JSON.parse(text));
  const trips = new Set(broker.taken.texts.flatMap((text) => text.match(/"trip":"[^"]+"/g) ?? []));
  const begun = events.filter(({ type }) => type === "pickup");
  expect(new Set(begun.map(({ trip }) => `"trip":"${trip}"`))).toEqual(trips);
  expect(begun[0]).toEqual({
    type: "pickup",
    driver: expect.stringMatching(/^blr-\d{5}$/),
    trip: expect.stringMatching(/^blr-\d{5}-/),
    ts: expect.any(Number),
    lat: expect.any(Number),
    lon: expect.any(Number),
  });
});

const rough = [
  { batch: 1, cut: 0.01 },
  { batch: 7, cut: 0.04 },
];

test.each(rough)("MQTT through broken connections, batches of $batch", async ({ batch, cut }) => {
  const broker = await unsteadyBroker({ cut, lateMs: 3 });
  const { report, lines } = await run({ mqtt: `mqtt://127.0.0.1:${broker.port}`, batch });
  await broker.close();
  expectComplete(report, lines, broker.taken, 1600);
  expect(broker.taken.connections).toBeGreaterThan(20);
  expect(report.resent).toBeGreaterThan(0);
  expect(broker.taken.duplicates).toBeGreaterThan(0);
  expect(report.ackMs.max).toBeGreaterThanOrEqual(report.ackMs.p99);
});

test.each(rough)("WebSocket through cuts and nacks, batches of $batch", async ({ batch, cut }) => {
  const ingest = await unsteadyIngest({ cut: cut / 2, nack: cut / 2, lateMs: 3 });
  const { report, lines } = await run({
    transport: "ws",
    ws: `ws://127.0.0.1:${ingest.port}`,
    batch,
  });
  await ingest.close();
  expectComplete(report, lines, ingest.taken, 1600);
  expect(ingest.taken.connections).toBeGreaterThan(20);
  expect(report.resent).toBeGreaterThan(0);
});

test("rejected pings are counted and not in the ledger", async () => {
  const ingest = await unsteadyIngest({ cut: 0, lateMs: 0, rejectEvery: 10 });
  const { report, lines } = await run({
    transport: "ws",
    ws: `ws://127.0.0.1:${ingest.port}/v1/ingest`,
    batch: 3,
    seconds: 1,
  });
  await ingest.close();
  expectComplete(report, lines, ingest.taken, 800);
  expect(report.rejected).toBe(80);
  expect(lines.filter((line) => line.seq % 10 === 0)).toEqual([]);
});

test("both transports: half of the drivers each, under their own names", async () => {
  const broker = await unsteadyBroker({ cut: 0, lateMs: 1 });
  const ingest = await unsteadyIngest({ cut: 0, lateMs: 1 });
  const { report, lines } = await run({
    transport: "both",
    mqtt: `mqtt://localhost:${broker.port}`,
    ws: `ws://127.0.0.1:${ingest.port}`,
    drivers: 10,
    hz: 20,
    seconds: 1,
    city: "del",
    seed: 3,
  });
  await Promise.all([broker.close(), ingest.close()]);
  expect(report).toMatchObject({ drivers: 10, sent: 200, acked: 200, resent: 0, unacked: 0 });
  expect([broker.taken.seqs.size, ingest.taken.seqs.size]).toEqual([5, 5]);
  const names = new Set(lines.map((line) => line.id));
  expect(names.size).toBe(10);
  expect(names).toContain("del3-00001");
});

test("the same seed drives the same way, whatever the transport and the batch", async () => {
  const places = async (given: Partial<FleetOptions>) => {
    const broker = await unsteadyBroker({ cut: 0, lateMs: 0 });
    const mqtt = `mqtt://127.0.0.1:${broker.port}`;
    await run({ mqtt, drivers: 5, hz: 20, seconds: 1, ...given });
    await broker.close();
    const pings = broker.taken.texts.flatMap((text) => [JSON.parse(text)].flat());
    return pings.map((p) => `${p.id} ${p.seq} ${p.lat} ${p.lon} ${p.speed}`).toSorted();
  };
  const single = await places({});
  expect(single.length).toBe(100);
  expect(await places({ batch: 4 })).toEqual(single);
  expect(await places({ seed: 2 })).not.toEqual(single);
});

test("QoS 0 asks for nothing and is not in the ledger", async () => {
  const broker = await unsteadyBroker({ cut: 0, lateMs: 0 });
  const mqtt = `mqtt://127.0.0.1:${broker.port}`;
  const { report, lines } = await run({ mqtt, qos: 0, seconds: 1 });
  expect(report).toMatchObject({ sent: 800, acked: 0, unacked: 0, resent: 0 });
  expect(lines).toEqual([]);
  await expect.poll(() => broker.taken.texts.length).toBe(800);
  await broker.close();
});

test("a signal ends it early, with everything answered", async () => {
  const broker = await unsteadyBroker({ cut: 0, lateMs: 20 });
  const mqtt = `mqtt://127.0.0.1:${broker.port}`;
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 1000);
  const { report, lines } = await run({ mqtt, seconds: null }, stop.signal);
  await broker.close();
  expect(report.sent).toBeGreaterThan(0);
  expectComplete(report, lines, broker.taken, report.sent);
});
