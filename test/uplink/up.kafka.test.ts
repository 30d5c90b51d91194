/** The way up into Apache Kafka: three nodes, of which one or another is killed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Gateway } from "../harness/gateway.ts";
import { KafkaCluster } from "../harness/kafka-cluster.ts";
import { missing } from "../setup/parts.ts";
import { drive, expectAll, pingsOf, stopAll } from "./fleet.ts";

const kills = Number(process.env.KILLS ?? 1);
const patiently = { timeout: 60_000, interval: 100 };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(missing("kafka"))("behind an uplink to Apache Kafka", () => {
  let cluster: KafkaCluster;
  let brokers: string[];
  let dir: string;
  let mirrored: Gateway;
  let flushed: Gateway;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "milepost-up-kafka-"));
    cluster = await KafkaCluster.start(3);
    brokers = cluster.bootstrap.split(",");
    const args = ["--uplink", cluster.bootstrap, "--live", "off"];
    // topics of the cluster's own stay as they are
    await cluster.admin((admin) => admin.createTopics({ topics: ["events"], partitions: 3 }));
    mirrored = new Gateway({
      dataDir: join(dir, "mirrored"),
      args: [...args, "--durability", "mirrored"],
    });
    flushed = new Gateway({ dataDir: join(dir, "flushed"), args });
    await Promise.all([mirrored.start(), flushed.start()]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all([mirrored?.stop(), flushed?.stop()]);
    await cluster?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("topics are there, and nodes of the cluster and gateways are killed", async () => {
    const { topics } = await cluster.admin(async (admin) => ({
      topics: await admin.metadata({ topics: ["positions", "events", "latest"] }),
    }));
    const partitions = (name: string) => topics.topics.get(name)?.partitionsCount;
    expect(["positions", "events", "latest"].map(partitions)).toEqual([16, 3, 4]);
    const drivers = [...drive(mirrored, 4, "m"), ...drive(flushed, 4, "f")];
    for (let n = 0; n < kills; n++) {
      await sleep(500 + Math.random() * 1000);
      const node = 1 + (n % 3);
      await cluster.killNode(node);
      await sleep(Math.random() * 1000);
      const gateway = n % 2 === 0 ? flushed : mirrored;
      await gateway.kill();
      await gateway.start();
      await cluster.startNodes();
    }
    await sleep(500);
    await stopAll(drivers);
    for (const gateway of [mirrored, flushed]) {
      const lag = (): Promise<number> => gateway.metric("milepost_uplink_lag_records");
      await expect.poll(lag, patiently).toBe(0);
    }
    const kept = await pingsOf(brokers);
    expectAll(drivers, kept);
    const at = new Map(kept.map((ping) => [`${ping.partition}/${ping.offset}`, ping]));
    for (const { id, acked } of drivers.filter((driver) => driver.id.startsWith("m"))) {
      for (const [seq, place] of acked) {
        expect(at.get(place?.join("/") ?? "")).toMatchObject({ id, seq });
      }
    }
  }, 240_000);
});
