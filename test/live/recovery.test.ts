import { expect, onTestFinished, test } from "vitest";
import { setCrc } from "../../src/batch/header.ts";
import { ATTRIBUTES } from "../../src/batch/layout.ts";
import type { Channel, Subscriber } from "../../src/live/channel.ts";
import { parseChannel, type ChannelSpec } from "../../src/live/channel-name.ts";
import { LogPositions } from "../../src/live/positions.ts";
import { Recovery } from "../../src/live/recovery.ts";
import { LogReader } from "../../src/log/reader.ts";
import { batchOf } from "../log/batches.ts";
import type { TestPing } from "./fixture.ts";
import { startTracked, TOPIC } from "./tracked.ts";

const at = (id: string, ts: number): TestPing => ({ id, ts, lat: 1, lon: 2 });

test("a batch that nobody can read hides none of the others", async () => {
  const tracked = await startTracked({ partitions: 1 });
  const { log, hub, tracker } = tracked;
  const reader = new LogReader(log);
  onTestFinished(() => reader.close());
  await tracked.send([at("a", 1)]);
  // it says it is compressed, and is not
  const broken = batchOf([{ key: "a", value: JSON.stringify(at("a", 2)), timestamp: 2 }]);
  broken[ATTRIBUTES + 1] |= 1;
  setCrc(broken);
  await log.appendBatches([{ topic: TOPIC, partition: 0, bytes: broken }], false);
  await tracked.send([at("a", 3)]);
  await tracked.caughtUp();
  const nobody: Subscriber = { publish: () => {}, ended: () => {} };
  const { applied } = tracker.partitions[0];
  const spec = parseChannel("driver:a") as ChannelSpec;
  const channel = hub.subscribe(spec, nobody, () => ({ partition: 0, applied })) as Channel;
  const positions = new LogPositions(tracked.log, reader);
  const recovery = new Recovery({ ...tracked, positions, now: () => tracked.clock.now });
  const missed = await recovery.missed(channel, { epoch: recovery.epochOf(0), offset: 0 });
  expect(missed?.map(({ offset }) => offset)).toEqual([0, 2]);
});

test("what nobody waits for any more is not read", async () => {
  const tracked = await startTracked({ partitions: 1 });
  const { hub, tracker } = tracked;
  const reader = new LogReader(tracked.log);
  onTestFinished(() => reader.close());
  await tracked.send([at("a", 1)]);
  await tracked.caughtUp();
  let finds = 0;
  const find = reader.find.bind(reader);
  reader.find = (...asked) => {
    finds++;
    return find(...asked);
  };
  const nobody: Subscriber = { publish: () => {}, ended: () => {} };
  const { applied } = tracker.partitions[0];
  const spec = parseChannel("driver:a") as ChannelSpec;
  const channel = hub.subscribe(spec, nobody, () => ({ partition: 0, applied })) as Channel;
  const positions = new LogPositions(tracked.log, reader);
  const recovery = new Recovery({ ...tracked, positions, now: () => tracked.clock.now });
  const since = { epoch: recovery.epochOf(0), offset: 0 };
  const given = Array.from({ length: 50 }, () => recovery.missed(channel, since, () => false));
  const wanted = recovery.missed(channel, since);
  expect((await Promise.all(given)).every((missed) => missed === null)).toBe(true);
  expect(finds).toBeLessThan(3);
  expect((await wanted)?.length).toBe(1);
});
