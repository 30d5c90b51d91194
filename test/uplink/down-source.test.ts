/** What live tracking makes of a cluster's topic: where it begins, and what becomes of that. */
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { parseChannel } from "../../src/live/channel-name.ts";
import type { ChannelSpec } from "../../src/live/channel-name.ts";
import { limits } from "../../src/model/limits.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import type { TestPing } from "../live/fixture.ts";
import { until } from "../riders/rider.ts";
import { ClusterUser, startFollowed } from "./followed.ts";

const POSITIONS = "positions";

let cluster: Gateway;
let brokers: string[];
let user: ClusterUser;

beforeAll(async () => {
  cluster = await startGateway({ args: ["--live", "off"] });
  brokers = [`127.0.0.1:${cluster.ports.kafka}`];
  user = new ClusterUser(brokers);
});
afterAll(async () => {
  await user?.close();
  await cluster?.stop();
});
beforeEach(async () => {
  for (const topic of [POSITIONS, "latest"]) await anew(topic, 2);
});

async function anew(topic: string, partitions: number): Promise<void> {
  await user.admin.deleteTopics({ topics: [topic] });
  await user.admin.createTopics({ topics: [topic], partitions, replicas: 1 });
}

const at = (id: string, ts: number, rest = {}): TestPing => ({ id, ts, lat: 1, lon: 2, ...rest });

function send(partition: number, ...pings: TestPing[]): Promise<void> {
  return user.send(pings.map((ping) => ({ topic: POSITIONS, ping, partition })));
}

const now = Date.now();

test("every kind of compression is read", async () => {
  const { seen } = await startFollowed(brokers);
  for (const [i, codec] of (["none", "gzip", "snappy", "lz4", "zstd"] as const).entries()) {
    const ping = at(codec, now + i, { note: "x".repeat(200) });
    await user.send([{ topic: POSITIONS, ping, partition: i % 2 }], codec);
    await until(() => seen(codec) !== null);
    expect(seen(codec)).toEqual(ping);
  }
});

test("a first start begins with what topic latest tells, and the last minutes", async () => {
  const long = now - 10 * limits.latestBackMs;
  await send(0, at("old", long), at("older", long));
  await send(0, at("recent", now - 1000));
  await user.send([{ topic: "latest", ping: at("old", long + 5), received: long + 5 }]);
  await user.send([{ topic: "latest", ping: at("recent", now - 2000), received: now - 2000 }]);
  const { tracker, drivers, seen } = await startFollowed(brokers);
  await until(() => tracker.partitions[0].applied === 3);
  expect([seen("old"), seen("older"), seen("recent")]).toEqual([
    at("old", long + 5),
    null,
    at("recent", now - 1000),
  ]);
  expect(tracker.counts.pings).toBe(3);
  // no offset is known of what was not in the stream
  expect(drivers.offset[drivers.findId("old")]).toBe(-1);
  expect(drivers.offset[drivers.findId("recent")]).toBe(2);
});

test("without topic latest a first start begins with the first that is there", async () => {
  await send(1, at("a", now - 3_600_000), at("b", now));
  const { tracker, seen } = await startFollowed(brokers);
  await until(() => tracker.partitions[1].applied === 2);
  expect(seen("a")).not.toBeNull();
});

test("a start goes on where a checkpoint ends; what retention took is passed over", async () => {
  await send(0, at("a", now), at("b", now), at("c", now));
  const first = await startFollowed(brokers);
  await until(() => first.tracker.partitions[0].applied === 3);
  const { topicId } = first.tracker.trackedTo as { topicId: string };
  const again = await startFollowed(brokers, { topicId, applied: [2, 0] });
  await until(() => again.tracker.lag === 0);
  expect([again.seen("b"), again.seen("c")?.id]).toEqual([null, "c"]);
  expect(again.tracker.trackedTo).toEqual({ topicId, applied: [3, 0] });
  await user.admin.deleteRecords({
    topics: [{ name: POSITIONS, partitions: [{ partition: 0, offset: 2n }] }],
  });
  const behind = await startFollowed(brokers, { topicId, applied: [0, 0] });
  await until(() => behind.tracker.lag === 0);
  expect(behind.tracker.counts).toMatchObject({ pings: 1, passedOver: 2 });
});

test("a cluster that lost its end: offsets are given again, under another epoch", async () => {
  await send(0, at("a", now));
  const first = await startFollowed(brokers);
  const { topicId } = first.tracker.trackedTo as { topicId: string };
  const lost = await startFollowed(brokers, { topicId, applied: [9, 0] });
  expect(lost.tracker.trackedTo?.applied).toEqual([1, 0]);
  expect(lost.tracker.trackedTo?.topicId).toMatch(new RegExp(`^${topicId}\\.\\d+$`));
  await send(0, at("b", now));
  await until(() => lost.seen("b") !== null);
  // and is that from now on
  const again = await startFollowed(brokers, lost.tracker.trackedTo);
  expect(again.tracker.trackedTo).toEqual(lost.tracker.trackedTo);
});

test("a topic made anew: positions hold, who follows is told; partitions added", async () => {
  const { tracker, hub, seen } = await startFollowed(brokers);
  await send(0, at("a", now), at("b", now));
  await until(() => seen("b") !== null);
  let ended = "";
  const rider = { publish: () => {}, ended: (_: unknown, why: string) => void (ended = why) };
  const spec = parseChannel("driver:a") as ChannelSpec;
  hub.subscribe(spec, rider, () => ({ partition: 0, applied: 2 }));
  const before = tracker.trackedTo?.topicId;
  await anew(POSITIONS, 2);
  await send(0, at("c", now));
  await until(() => seen("c") !== null);
  expect(ended).toBe("topic_changed");
  expect(tracker.trackedTo?.topicId).not.toBe(before);
  expect(tracker.trackedTo?.applied).toEqual([1, 0]);
  expect(seen("a")).not.toBeNull();
  await user.admin.createPartitions({ topics: [{ name: POSITIONS, count: 4, assignments: null }] });
  // one that knows of the new partitions
  const other = new ClusterUser(brokers);
  onTestFinished(() => other.close());
  await other.send([{ topic: POSITIONS, ping: at("d", now), partition: 3 }]);
  await until(() => seen("d") !== null);
  expect(tracker.trackedTo?.applied).toEqual([1, 0, 0, 1]);
});
