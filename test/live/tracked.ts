/** A tracker on a real log thread. */
import { onTestFinished } from "vitest";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { DriverTable, NO_ROW } from "../../src/live/drivers.ts";
import { History } from "../../src/live/history.ts";
import { Hub } from "../../src/live/hub.ts";
import { LogSource } from "../../src/live/log-source.ts";
import { type TrackedTo, Tracker } from "../../src/live/tracker.ts";
import type { LogPort } from "../../src/log/client.ts";
import { LogReader } from "../../src/log/reader.ts";
import { startLog, type TestLog } from "../log/log-thread.ts";
import { newDirectory } from "../log/fixture.ts";
import type { TestPing } from "./fixture.ts";

export const TOPIC = "positions";

export type Tracked = {
  dir: string;
  log: LogPort;
  thread: TestLog;
  drivers: DriverTable;
  index: DriverIndex;
  hub: Hub;
  history: History;
  tracker: Tracker;
  lines: string[];
  clock: { now: number };
  /** What is known of a driver; null: it was never seen. */
  seen(id: string): TestPing | null;
  send(pings: TestPing[], options?: { partition?: number; timestamp?: number }): Promise<void>;
  caughtUp(): Promise<void>;
};

export type TrackedOptions = {
  dir?: string;
  partitions?: number;
  config?: Record<string, string>;
  from?: TrackedTo | null;
  driversMax?: number;
  drivers?: DriverTable;
  before?: (log: LogPort) => Promise<void>;
};

export async function startTracked(options: TrackedOptions = {}): Promise<Tracked> {
  const { dir = newDirectory(), partitions = 2, config = {}, driversMax } = options;
  const thread = await startLog(dir);
  const log = await thread.port();
  if (log.topic(TOPIC) === null) await log.call("createTopic", TOPIC, partitions, config);
  await options.before?.(log);
  const drivers = options.drivers ?? new DriverTable();
  const index = new DriverIndex(drivers);
  const history = new History(1_000_000);
  const hub = new Hub(drivers, index, history);
  const reader = new LogReader(log);
  const lines: string[] = [];
  const clock = { now: 1_000_000 };
  const source = new LogSource({ log, reader, report: (line) => lines.push(line) });
  const tracker = new Tracker({
    source,
    drivers,
    index,
    hub,
    staleMs: 60_000,
    ...(driversMax === undefined ? {} : { driversMax }),
    now: () => clock.now,
  });
  onTestFinished(() => {
    tracker.stop();
    reader.close();
  });
  await tracker.start(options.from ?? null);
  return {
    dir,
    log,
    thread,
    drivers,
    index,
    hub,
    history,
    tracker,
    lines,
    clock,
    seen(id) {
      const row = drivers.findId(id);
      return row === NO_ROW ? null : (JSON.parse(`${drivers.json(row)}}`) as TestPing);
    },
    async send(pings, { partition, timestamp } = {}) {
      await log.append(
        TOPIC,
        pings.map((ping) => record(ping, partition, timestamp)),
      );
    },
    async caughtUp() {
      for (const [partition, { highWatermark }] of (await log.describe(TOPIC)).entries()) {
        if (await tracker.waitFor(partition, highWatermark, 20_000)) continue;
        throw new Error(`partition ${partition} is behind: ${lines.join("; ")}`);
      }
    },
  };
}

/** Received when it was fixed, unless it is said otherwise. */
function record(ping: TestPing, partition?: number, timestamp = ping.ts) {
  const value = Buffer.from(JSON.stringify(ping));
  const place = partition === undefined ? {} : { partition };
  return { key: Buffer.from(ping.id), value, timestamp, ...place };
}
