import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build } from "../../load/build.ts";
import { type KafkaLoad, kafkaFaults, kafkaLoad } from "../../load/kafka-generator.ts";
import { createTopic } from "../../load/kafka-topics.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";

const built = build("kafka");
const title = "path" in built ? "the Kafka generator" : `the Kafka generator: ${built.missing}`;

describe.skipIf("missing" in built)(title, () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = await startGateway();
  });
  afterAll(async () => {
    await gateway.stop();
  });

  const partitions = 4;
  async function newTopic(): Promise<KafkaLoad> {
    const { kafka: port } = gateway.ports;
    const { name: topic } = await createTopic(port, partitions);
    return { port, topic, partitions, pid: gateway.pid, warm: 0.2, seconds: 1 };
  }

  const shapes: Partial<KafkaLoad>[] = [
    { producers: 2 },
    { producers: 2, perRequest: 2, idempotent: true },
    { producers: 4, records: 8, window: 20 },
  ];
  it.each(shapes)("has every record acknowledged, and reads each: %o", async (shape) => {
    const topic = await newTopic();
    const sent = await kafkaLoad({ ...topic, ...shape });
    expect(kafkaFaults(sent)).toEqual([]);
    expect(sent.sent).toBeGreaterThan(1000);
    const read = await kafkaLoad({ ...topic, consumers: 2, from: "start" });
    expect(read).toMatchObject({ consumed: sent.acked, errors: 0, gaps: 0, lag: 0 });
  });

  it("reads again what it has read", async () => {
    const topic = await newTopic();
    await kafkaLoad({ ...topic, producers: 2, fill: 5000 });
    const again = await kafkaLoad({ ...topic, consumers: 1, from: "start", again: true });
    expect(again.consumed).toBeGreaterThan(10_000);
    expect(again.gaps).toBe(0);
  });

  it("takes the time from the intended send to the consumer", async () => {
    const load = { ...(await newTopic()), producers: 2, consumers: 2, rate: 1000 };
    const report = await kafkaLoad(load);
    expect(kafkaFaults(report)).toEqual([]);
    expect(report.read.count).toBeGreaterThan(500);
    expect(report.read.p50Ms).toBeGreaterThan(0);
    expect(report.serverCpuS).toBeGreaterThan(0);
  });

  it("reads in groups, each group everything; the frozen disturb nobody", async () => {
    const load = { ...(await newTopic()), producers: 1, rate: 500, frozen: 2 };
    const report = await kafkaLoad({ ...load, groups: 2, consumers: 2, seconds: 2 });
    expect(report).toMatchObject({ errors: 0, gaps: 0, unread: 0 });
    expect(report.consumed).toBe(2 * report.acked);
  });

  it("says so when nobody listens", async () => {
    const nobody = { port: 1, topic: "t", partitions: 1, producers: 1 };
    await expect(kafkaLoad(nobody)).rejects.toMatchObject({ code: 1 });
  });
});
