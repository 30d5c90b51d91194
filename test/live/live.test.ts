import { expect, onTestFinished, test } from "vitest";
import { Live } from "../../src/live/live.ts";
import { logOrigin } from "../../src/live/origin.ts";
import { TOPIC } from "../../src/live/tracker.ts";
import { LogReader } from "../../src/log/reader.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { newDirectory } from "../log/fixture.ts";
import { startLog } from "../log/log-thread.ts";

test("a driver of a log that is no more is looked for where this log would have it", async () => {
  const dataDir = newDirectory();
  const thread = await startLog(dataDir);
  const log = await thread.port();
  await log.call("createTopic", TOPIC, 8, {});
  const reader = new LogReader(log);
  const origin = logOrigin(log, reader, () => {});
  const options = { origin, dataDir, staleMs: 60_000, registry: new Registry() };
  const live = await Live.open({ ...options, now: Date.now, report: () => {} });
  onTestFinished(async () => {
    await live.close();
    reader.close();
  });
  const value = Buffer.from(JSON.stringify({ id: "a", ts: Date.now(), lat: 1, lon: 2 }));
  await log.append(TOPIC, [{ key: Buffer.from("a"), value, partition: 7 }]);
  const patient = { timeout: 10_000 };
  await expect.poll(() => live.drivers.findId("a"), patient).toBe(0);
  expect(live.partitionOf("a", 0)).toBe(7);
  await log.call("deleteTopic", TOPIC);
  await log.call("createTopic", TOPIC, 1, {});
  await expect.poll(() => live.tracker.topic?.partitions, patient).toBe(1);
  expect(live.drivers.partition[0]).toBe(7);
  expect(live.partitionOf("a", 0)).toBe(0);
});
