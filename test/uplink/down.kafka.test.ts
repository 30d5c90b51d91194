/** Live tracking over Apache Kafka of three nodes: every compression, a leader that is killed. */
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ClusterPositions } from "../../src/live/cluster-positions.ts";
import { CHANGED } from "../../src/live/drivers.ts";
import { LatestOwner } from "../../src/live/latest-owner.ts";
import { LatestWriter } from "../../src/live/latest.ts";
import { ClusterClient, clusterOptions, LATEST } from "../../src/uplink/cluster-client.ts";
import { KafkaCluster } from "../harness/kafka-cluster.ts";
import type { TestPing } from "../live/fixture.ts";
import { until } from "../riders/rider.ts";
import { missing } from "../setup/parts.ts";
import { ClusterUser, startFollowed } from "./followed.ts";

const topic = "positions";
const partitions = 6;

describe.skipIf(missing("kafka"))("behind Apache Kafka", () => {
  let cluster: KafkaCluster;
  let brokers: string[];
  let user: ClusterUser;

  beforeAll(async () => {
    cluster = await KafkaCluster.start(3);
    brokers = cluster.bootstrap.split(",");
    user = new ClusterUser(brokers);
    await user.admin.createTopics({ topics: [topic, "latest"], partitions, replicas: 3 });
  }, 120_000);
  afterAll(async () => {
    await user?.close();
    await cluster?.stop();
  });

  const now = Date.now();
  const at = (id: string, seq: number): TestPing => ({ id, ts: now + seq, lat: 1, lon: 2, seq });

  async function client(): Promise<ClusterClient> {
    const opened = new ClusterClient(clusterOptions(brokers, "test"));
    onTestFinished(() => opened.close());
    return opened;
  }

  test("every compression is read, and a partition by its offsets and times", async () => {
    const { tracker, seen } = await startFollowed(brokers);
    const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;
    for (const [seq, codec] of codecs.entries()) {
      await user.send(
        [1, 2, 3].map((n) => ({ topic, ping: at(`${codec}-${n}`, seq) })),
        codec,
      );
      for (const n of [1, 2, 3]) await until(() => seen(`${codec}-${n}`) !== null);
    }
    const positions = new ClusterPositions(await client());
    const partition = tracker.partitions.findIndex(({ applied }) => applied > 1);
    const { applied } = tracker.partitions[partition];
    expect(await positions.bounds(partition)).toEqual({ start: 0, highWatermark: applied });
    const read = await positions.batches(partition, Buffer.from("any"), 1, applied, 1_000_000);
    expect(read).toMatchObject({ next: applied, highWatermark: applied });
    expect(await positions.firstSince(partition, now)).toBe(0);
    expect(await positions.firstSince(partition, now + 60_000)).toBe(null);
    const beyond = positions.batches(partition, Buffer.from("any"), applied + 9, applied + 10, 1e6);
    await expect(beyond).rejects.toMatchObject({ code: "offset_out_of_range" });
  });

  test("two gateways share topic latest", { timeout: 60_000 }, async () => {
    const { drivers, tracker } = await startFollowed(brokers);
    await until(() => tracker.partitions.length === partitions && tracker.lag === 0);
    const known = drivers.count;
    const owners = await Promise.all(
      [1, 2].map(async () => {
        const lines: string[] = [];
        const to = await client();
        const owner = new LatestOwner(clusterOptions(brokers, "test"), to, (l) => lines.push(l));
        onTestFinished(() => owner.close());
        return owner;
      }),
    );
    const all = Array.from({ length: partitions }, (_, p) => p);
    const ownedOf = (owner: LatestOwner): number[] => all.filter((p) => owner.owns(p));
    await until(() => owners.every((owner) => ownedOf(owner).length === partitions / 2));
    expect(owners.flatMap(ownedOf).sort()).toEqual(all);
    for (const owner of owners) {
      const owns = (partition: number): boolean => owner.owns(partition);
      await new LatestWriter({ log: owner, drivers, owns }).write();
    }
    const ends = await (await client()).offsets("latest", LATEST);
    expect(ends.reduce((sum, end) => sum + end, 0)).toBe(known);
    expect(drivers.flags.subarray(0, drivers.rows).some((flags) => flags & CHANGED)).toBe(false);
  });

  test(
    "a leader that is killed: its partitions go on at another",
    { timeout: 90_000 },
    async () => {
      const { tracker, seen, lines } = await startFollowed(brokers);
      const { topics } = await cluster.admin((admin) => admin.metadata({ topics: [topic] }));
      const leader = topics.get(topic)?.partitions[0].leader as number;
      await cluster.killNode(leader);
      const ids = Array.from({ length: 50 }, (_, n) => `after-${n}`);
      const messages = ids.map((id) => ({ topic, ping: at(id, 100) }));
      // until there is another leader
      const send = (): Promise<boolean> => {
        return user.send(messages).then(
          () => true,
          () => false,
        );
      };
      await until(send);
      for (const id of ids) await until(() => seen(id) !== null);
      expect(tracker.lag).toBe(0);
      await until(() => tracker.silentMs === 0);
      expect(lines.some((line) => line.includes("trying again"))).toBe(true);
    },
  );
});
