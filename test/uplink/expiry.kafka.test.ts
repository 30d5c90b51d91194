/**
 * Apache Kafka forgets a producer that is idle. What comes after that arrives all the same, once;
 * of a gateway that died meanwhile what it had not confirmed may arrive again.
 */
import { Connection, describeProducersV0 } from "@platformatic/kafka";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Gateway } from "../harness/gateway.ts";
import { KafkaCluster } from "../harness/kafka-cluster.ts";
import { missing } from "../setup/parts.ts";
import { drive, expectAll, type Kept, pingsOf, stopAll } from "./fleet.ts";

const expirationMs = 2000;
const patiently = { timeout: 60_000, interval: 100 };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(missing("kafka"))("producers that Apache Kafka has forgotten", () => {
  let cluster: KafkaCluster;
  let gateway: Gateway;

  beforeAll(async () => {
    cluster = await KafkaCluster.start(1, [
      `producer.id.expiration.ms=${expirationMs}`,
      "producer.id.expiration.check.interval.ms=200",
    ]);
    gateway = new Gateway({ args: ["--uplink", cluster.bootstrap, "--live", "off"] });
    await gateway.start();
  }, 120_000);
  afterAll(async () => {
    await gateway?.stop();
    await cluster?.stop();
  });

  const lag = (): Promise<number> => gateway.metric("milepost_uplink_lag_records");
  const forgotten = async (): Promise<boolean> => {
    const connection = new Connection("test");
    const { host, port } = cluster.brokers[0];
    try {
      await connection.connect(host, port);
      const asked = [{ name: "positions", partitionIndexes: partitions }];
      const { topics } = await describeProducersV0.api.async(connection, asked);
      return topics[0].partitions.every(({ activeProducers }) => activeProducers.length === 0);
    } finally {
      await connection.close();
    }
  };

  test("while the gateway runs, and while it is away", async () => {
    const all = [];
    for (const name of ["a", "b", "c"]) {
      const drivers = drive(gateway, 3, name);
      all.push(...drivers);
      await sleep(300);
      if (name === "c") {
        // what waits is sent by the next start, after the cluster has forgotten the last one
        await cluster.killNode(1);
        await sleep(500);
        await gateway.kill();
        await cluster.startNodes();
        await expect.poll(forgotten, patiently).toBe(true);
        await gateway.start();
      }
      await stopAll(drivers);
      await expect.poll(lag, patiently).toBe(0);
      await expect.poll(forgotten, patiently).toBe(true);
    }
    const kept = await pingsOf(cluster.bootstrap.split(","), "positions", true);
    const wasKilled = ({ id }: { id: string }): boolean => id.startsWith("c");
    expectAll(
      all.filter((driver) => !wasKilled(driver)),
      kept,
    );
    const first = new Map<string, Kept>();
    for (const ping of kept) {
      const name = `${ping.id}/${ping.seq}`;
      if (!first.has(name)) first.set(name, ping);
    }
    expectAll(all.filter(wasKilled), [...first.values()]);
  }, 180_000);
});

const partitions = Array.from({ length: 16 }, (_, partition) => partition);
