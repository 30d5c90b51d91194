/** The rows of live tracking: riders beside devices, and bare uWebSockets.js as the floor. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Contender, type Context, type Run, alone, fresh } from "./contender.ts";
import { type Report, devices, faults } from "./generator.ts";
import { type RiderLoad, type RiderReport, riderFaults, riders } from "./rider-generator.ts";
import type { Row } from "./rows.ts";
import { type Server, missing, start, startPublisher } from "./servers.ts";

const warm = 1;
/** How long the devices take to connect, and the publications to be of the steady state. */
const aheadSeconds = 3;

type Pings = { devices: number; rate: number; pings?: number };

/** Riders follow while devices send; the rest of a device's time is before and after. */
async function beside(
  server: Server,
  { devices: count, rate, pings = 1 }: Pings,
  load: Omit<RiderLoad, "port" | "pid">,
): Promise<{ sent: Report; report: RiderReport; liveUs: number }> {
  const { device: port, http, pid } = server;
  const total = load.seconds + warm + aheadSeconds + 2;
  const sending = devices({ to: "ws", port, pid, devices: count, rate, pings, seconds: total });
  await sleep(aheadSeconds * 1000);
  let cpu: Promise<number> = Promise.resolve(Number.NaN);
  const report = await riders({ ...load, port: http, pid, warm }, () => {
    cpu = threadSeconds(server, "live", load.seconds);
  });
  const liveUs = ((await cpu) * 1e6) / Math.max(1, report.publications);
  return { sent: await sending, report, liveUs };
}

/** CPU that one of the gateway's threads takes in the seconds that count. */
async function threadSeconds(server: Server, thread: string, seconds: number): Promise<number> {
  await sleep(warm * 1000);
  const before = await metric(server, "milepost_thread_cpu_seconds_total", `"${thread}"`);
  await sleep(seconds * 1000);
  return (await metric(server, "milepost_thread_cpu_seconds_total", `"${thread}"`)) - before;
}

async function metric({ admin }: Server, name: string, labels = ""): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
  let sum = 0;
  for (const line of text.split("\n")) {
    if (line.startsWith(name) && line.includes(labels)) sum += Number(line.split(" ").at(-1));
  }
  return sum;
}

const shares = (report: RiderReport) => ({
  "server %": (report.serverCpuS / report.seconds) * 100,
  "generator %": (report.generatorCpuS / report.seconds) * 100,
  "others %": (report.othersCpuS / report.seconds) * 100,
});

const ages = (report: RiderReport) => ({ "p50 ms": report.p50Ms, "p99 ms": report.p99Ms });

const delivered = (report: RiderReport, liveUs: number) => ({
  "pubs/s": report.perS,
  "µs/pub": report.serverUsEach,
  "live µs/pub": liveUs,
  ...ages(report),
  ...shares(report),
});

/** The same publications from bare uWebSockets.js and from the gateway. */
function fanOut(drivers: number, rate: number): Contender[] {
  const load = { riders: 1000, modulo: drivers };
  return [
    alone(
      "uws",
      () => null,
      async ({ seconds }) => {
        const server = await startPublisher(drivers, rate);
        try {
          const { http: port, pid } = server;
          const report = await riders({ ...load, port, pid, seconds, warm });
          const figures = delivered(report, report.serverUsEach);
          return { figures, faults: riderFaults(report), raw: report };
        } finally {
          await server.stop();
        }
      },
    ),
    fresh("milepost live", 2100, async (server, { seconds }) => {
      const pings = { devices: drivers, rate };
      const { sent, report, liveUs } = await beside(server, pings, { ...load, seconds });
      return {
        figures: delivered(report, liveUs),
        faults: [...faults(sent), ...riderFaults(report)],
        raw: { sent, report },
      };
    }),
  ];
}

const follow = fresh("milepost live", 4100, async (server, { seconds }) => {
  const pings = { devices: 2000, rate: 20_000 };
  const { sent, report, liveUs } = await beside(server, pings, { riders: 2000, seconds });
  return {
    figures: {
      "pings/s": sent.pingsPerS,
      "pubs/s": report.perS,
      ...ages(report),
      "p99.9 ms": report.p999Ms,
      "live µs/pub": liveUs,
      ...shares(report),
    },
    faults: [...faults(sent), ...riderFaults(report)],
    raw: { sent, report },
  };
});

/** One of a thousand riders never reads. */
const frozen = fresh("milepost live", 2100, async (server, { seconds }) => {
  const pings = { devices: 100, rate: 2000 };
  const load = { riders: 1000, modulo: 100, seconds };
  const without = await beside(server, pings, load);
  const one = await beside(server, pings, { ...load, frozen: 1 });
  return {
    figures: {
      "pubs/s": one.report.perS,
      "p99 ms": without.report.p99Ms,
      "p99 frozen": one.report.p99Ms,
      "p99 ratio": one.report.p99Ms / without.report.p99Ms,
      ...shares(one.report),
    },
    faults: [...riderFaults(without.report), ...riderFaults(one.report)],
    raw: { without, one },
  };
});

const idleRiders = 15_000;
const idle = fresh("milepost live", idleRiders, async ({ http: port, pid }, { seconds }) => {
  const load = { port, pid, warm: 0, idle: true };
  // what the first connections load and compile belongs to no connection
  await riders({ ...load, riders: 500, seconds: 0.5 });
  const report = await riders({ ...load, riders: idleRiders, seconds: Math.max(3, seconds) });
  const [before, after] = report.serverRssBytes;
  return {
    figures: {
      "KB each": (after - before) / idleRiders / 1024,
      "MB before": before / 2 ** 20,
      "MB with all": after / 2 ** 20,
    },
    faults: riderFaults(report),
    raw: report,
  };
});

/** So many drivers of the square that the generators know, in arrays over HTTP. */
async function populate(server: Server, count: number): Promise<void> {
  const each = 1000;
  for (let from = 0; from < count; from += each) {
    const pings = Array.from({ length: each }, (_, i) => ({
      id: `p${from + i}`,
      ts: Date.now(),
      // six decimals, as receivers give
      lat: Math.round((12.8 + Math.random() * 0.3) * 1e6) / 1e6,
      lon: Math.round((77.45 + Math.random() * 0.3) * 1e6) / 1e6,
      speed: 8.5,
      heading: i % 360,
      accuracy: 5,
      seq: 1,
    }));
    const url = `http://127.0.0.1:${server.device}/v1/ingest`;
    const answer = await fetch(url, { method: "POST", body: JSON.stringify(pings) });
    if (!answer.ok) throw new Error(`ingest answered ${answer.status}`);
  }
  while ((await metric(server, "milepost_live_drivers")) < count) await sleep(50);
}

const near = fresh("milepost live", 1200, async (server, { seconds }) => {
  await populate(server, 100_000);
  const get = "/v1/drivers?near=%lon,%lat&radius=5000&limit=20";
  const pings = { devices: 1000, rate: 5000 };
  const { sent, report } = await beside(server, pings, { riders: 16, get, seconds });
  return {
    figures: {
      "queries/s": report.perS,
      "p50 ms": report.p50Ms,
      "p99 ms": report.p99Ms,
      "pings/s": sent.pingsPerS,
      ...shares(report),
    },
    faults: [...faults(sent), ...riderFaults(report)],
    raw: { sent, report },
  };
});

const ingest = fresh("milepost live", 100, async (server, { seconds }) => {
  const { mqtt: port, pid } = server;
  const load = { to: "mqtt" as const, port, pid, devices: 100, window: 256 };
  const sending = devices({ ...load, seconds: Math.max(10, 2 * seconds) });
  let lag = 0;
  let done = false;
  const watching = (async () => {
    while (!done) {
      lag = Math.max(lag, await metric(server, "milepost_live_lag_seconds"));
      await sleep(250);
    }
  })();
  const report = await sending;
  done = true;
  await watching;
  return {
    figures: {
      "pings/s": report.pingsPerS,
      "µs/ping": report.serverUsPerMessage,
      "lag s": lag,
      "server %": (report.serverCpuS / report.seconds) * 100,
      "others %": (report.othersCpuS / report.seconds) * 100,
    },
    faults: faults(report),
    raw: report,
  };
});

async function runRestart(context: Context): Promise<Run> {
  mkdirSync(context.dir, { recursive: true });
  const dataDir = mkdtempSync(join(context.dir, "live-"));
  let server: Server | null = null;
  try {
    const first = await start("milepost live", { ...context, dataDir });
    await populate(first, 100_000);
    // a checkpoint every ten seconds; what came behind it is read from the log
    await sleep(12_000);
    await populate(first, 1000);
    process.kill(first.pid, "SIGKILL");
    await first.stop();
    const began = performance.now();
    server = await start("milepost live", { ...context, dataDir });
    const readyS = (performance.now() - began) / 1000;
    const answer = await fetch(`http://127.0.0.1:${server.http}/v1/drivers/p99999`);
    const servedS = (performance.now() - began) / 1000;
    while ((await metric(server, "milepost_live_lag_records")) > 0) await sleep(20);
    const caughtUpS = (performance.now() - began) / 1000;
    const bad = answer.ok ? [] : [`the last driver: ${answer.status}`];
    const figures = { "ready s": readyS, "served s": servedS, "caught up s": caughtUpS };
    return { figures, faults: bad, raw: null };
  } finally {
    await server?.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const gateway = "milepost live";

export const riderRows: Row[] = [
  {
    name: "riders-crowd",
    title: "1 driver, 1 000 riders, 50 pings/s",
    contenders: fanOut(1, 50),
    targets: [{ of: gateway, figure: "live µs/pub", over: "uws", atMost: 1.3 }],
  },
  {
    name: "riders-each",
    title: "1 000 drivers, a rider each, 20 000 pings/s",
    contenders: fanOut(1000, 20_000),
    targets: [{ of: gateway, figure: "live µs/pub", over: "uws", atMost: 1.3 }],
  },
  {
    name: "riders-follow",
    title: "2 000 riders, each follows a driver; 20 000 pings/s; age from receive to arrival",
    contenders: [follow],
    targets: [
      { of: gateway, figure: "p50 ms", atMost: 5 },
      { of: gateway, figure: "p99 ms", atMost: 30 },
    ],
  },
  {
    name: "riders-frozen",
    title: "1 000 riders, with and without one that never reads",
    contenders: [frozen],
    targets: [{ of: gateway, figure: "p99 ratio", atMost: 1.1 }],
  },
  {
    name: "riders-idle",
    title: "15 000 idle riders, resident memory each",
    contenders: [idle],
    targets: [{ of: gateway, figure: "KB each", atMost: 8 }],
  },
  {
    name: "near",
    title: "the 20 nearest of 100 000 drivers, 16 connections, 5 000 pings/s beside",
    contenders: [near],
    targets: [
      { of: gateway, figure: "queries/s", atLeast: 5000 },
      { of: gateway, figure: "p99 ms", atMost: 10 },
    ],
  },
  {
    name: "live-ingest",
    title: "MQTT QoS 1, 100 sockets pipelined, live tracking on",
    contenders: [ingest],
    targets: [
      { of: gateway, figure: "pings/s", atLeast: 300_000 },
      { of: gateway, figure: "lag s", atMost: 5 },
    ],
  },
  {
    name: "live-restart",
    title: "last positions of 100 000 drivers after kill -9",
    contenders: [alone(gateway, () => missing("milepost live"), runRestart)],
    targets: [{ of: gateway, figure: "served s", atMost: 2 }],
  },
];
