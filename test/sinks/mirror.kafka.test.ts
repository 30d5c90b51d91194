/** `milepost sink kafka` into Apache Kafka: three nodes, and after the first test two. */
import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BatchBuilder } from "../../src/batch/builder.ts";
import { milepost, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { KafkaCluster } from "../harness/kafka-cluster.ts";
import { missing } from "../setup/parts.ts";
import {
  countOf,
  expectMirrored,
  partitions,
  readAll,
  withAdmin,
  writeAtOnce,
  Writer,
} from "./mirror-harness.ts";

const patiently = { timeout: 90_000, interval: 100 };
const kills = Number(process.env.KILLS ?? 2);
const seed = Number(process.env.SEED ?? Date.now() % 100_000);

describe.skipIf(missing("kafka"))("sink kafka into Apache Kafka", () => {
  let source: Gateway;
  let cluster: KafkaCluster;
  let from = "";
  let topic = "";
  let tests = 0;
  let writer: Writer;

  beforeAll(async () => {
    [source, cluster] = await Promise.all([startGateway(), KafkaCluster.start(3)]);
    from = `127.0.0.1:${source.ports.kafka}`;
    // while all nodes are there
    const configs = [{ name: "min.insync.replicas", value: "3" }];
    await cluster.admin((admin) => admin.createTopics({ topics: ["few"], partitions, configs }));
  }, 120_000);
  beforeEach(async () => {
    topic = `t${++tests}`;
    await withAdmin(from, (admin) => admin.createTopics({ topics: [topic], partitions }));
    writer = new Writer(source.ports.kafka, topic, seed);
    return async () => writer.close();
  });
  afterAll(async () => {
    await Promise.all([source?.stop(), cluster?.stop()]);
  });

  const to = (): string => cluster.bootstrap.split(",")[0];

  function sink(): RunningCommand {
    const words = ["--server", from, "--brokers", cluster.bootstrap, "--topics", topic];
    return new RunningCommand(["sink", "kafka", ...words, "--group", `g-${topic}`]);
  }

  test(`records are the same, and go on while a leader is killed; seed ${seed}`, async () => {
    await writer.write(60);
    const worker = sink();
    await expect.poll(() => countOf(to(), topic), patiently).toBe(await countOf(from, topic));
    const leaders = await cluster.admin(async (admin) => {
      const found = (await admin.metadata({ topics: [topic] })).topics.get(topic);
      return (found?.partitions ?? []).map(({ leader }) => leader);
    });
    // the first node is the one that the test asks
    const victim = leaders.find((leader) => leader !== 1) as number;
    for (let i = 0; i < 3; i++) {
      await writer.write(10);
      if (i === 1) await cluster.killNode(victim);
    }
    await expect.poll(() => countOf(to(), topic), patiently).toBe(await countOf(from, topic));
    expect(await worker.end("SIGTERM")).toMatchObject({ code: 0 });
    await expectMirrored(from, to(), topic);
  }, 180_000);

  test(
    `kill -9, ${kills} times: each record once`,
    async () => {
      const program = new URL("./mirror-child.ts", import.meta.url).pathname;
      await writer.write(20);
      for (let kill = 0; kill <= kills; kill++) {
        const words = [program, from, cluster.bootstrap, topic];
        const child: ChildProcess = spawn(process.execPath, words, {
          stdio: ["ignore", "pipe", "inherit"],
        });
        await new Promise((resolve) => child.stdout?.once("data", resolve));
        await writer.write(6);
        if (kill === kills) {
          await expect.poll(() => countOf(to(), topic), patiently).toBe(await countOf(from, topic));
        } else await new Promise((resolve) => setTimeout(resolve, (kill * 7919 + seed) % 60));
        const ended = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await ended;
      }
      await expectMirrored(from, to(), topic);
    },
    kills * 15_000 + 60_000,
  );

  test("two that have the same partitions at once write each record once", async () => {
    await writer.write(200);
    await writeAtOnce(from, cluster.bootstrap, topic);
    await expectMirrored(from, to(), topic);
  }, 60_000);

  test("what Kafka refuses goes to positions.dlq, and the rest goes on", async () => {
    await cluster.admin((admin) =>
      admin.createTopics({
        topics: [topic],
        partitions,
        replicas: 1,
        configs: [
          { name: "max.message.bytes", value: "20000" },
          { name: "message.timestamp.before.max.ms", value: "86400000" },
        ],
      }),
    );
    const dayMs = 86_400_000;
    const builder = new BatchBuilder();
    const sizes = [10, 30_000, 20, 19_000, 5, 7];
    for (const [i, size] of sizes.entries()) {
      const timestamp = i === 4 ? Date.now() - 3 * dayMs : Date.now();
      builder.append(null, 0, 0, Buffer.alloc(size, "v"), 0, size, timestamp, null);
    }
    builder.seal();
    await writer.send(0, builder.sealed());
    await writer.write(10);
    const worker = sink();
    const total = (await countOf(from, topic)) - 2;
    await expect.poll(() => countOf(to(), topic), patiently).toBe(total);
    await worker.end("SIGTERM");
    await expectMirrored(from, to(), topic, ["0/1", "0/4"]);
    const letters = (await readAll(from, "positions.dlq")).flat();
    expect(letters.map(({ headers }) => Object.fromEntries(headers))).toEqual([
      { reason: expect.stringContaining("MESSAGE_TOO_LARGE"), topic, partition: "0", offset: "1" },
      { reason: "kafka INVALID_TIMESTAMP", topic, partition: "0", offset: "4" },
    ]);
    const status = await milepost(["sink", "status", "--json", "--server", from]);
    const { sinks } = JSON.parse(status.stdout) as { sinks: { group: string }[] };
    const own = sinks.find(({ group }) => group === `g-${topic}`);
    expect(own).toMatchObject({ lag: 0, deadLettered: 2 });
  }, 120_000);

  test("too few replicas are waited for", async () => {
    await writer.close();
    topic = "few";
    await withAdmin(from, (admin) => admin.createTopics({ topics: [topic], partitions }));
    writer = new Writer(source.ports.kafka, topic, seed);
    await writer.write(10);
    const worker = sink();
    await expect.poll(() => worker.stderr, patiently).toMatch(/few\/\d: NOT_ENOUGH_REPLICAS; try/);
    await cluster.startNodes();
    await expect.poll(() => countOf(to(), topic), patiently).toBe(await countOf(from, topic));
    await worker.end("SIGTERM");
    await expectMirrored(from, to(), topic);
  }, 120_000);
});
