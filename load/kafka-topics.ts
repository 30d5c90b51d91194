/** Topics for a run, made and removed through the Kafka port itself. */
import { randomBytes } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import type { Server } from "./servers.ts";

export type BenchTopic = { name: string; partitions: number };

async function admin<T>(port: number, work: (admin: ReturnType<Kafka["admin"]>) => Promise<T>) {
  const client = new Kafka({ brokers: [`127.0.0.1:${port}`], logLevel: logLevel.ERROR });
  const connected = client.admin();
  await connected.connect();
  try {
    return await work(connected);
  } finally {
    await connected.disconnect();
  }
}

export async function createTopic(port: number, partitions: number): Promise<BenchTopic> {
  const name = `load-${randomBytes(4).toString("hex")}`;
  await admin(port, (to) =>
    // The generator waits for the leaders itself.
    to.createTopics({
      waitForLeaders: false,
      topics: [{ topic: name, numPartitions: partitions }],
    }),
  );
  return { name, partitions };
}

async function deleteTopic(port: number, { name }: BenchTopic): Promise<void> {
  await admin(port, (to) => to.deleteTopics({ topics: [name] }));
}

export async function withTopic<T>(
  { kafka }: Server,
  partitions: number,
  work: (topic: BenchTopic) => Promise<T>,
): Promise<T> {
  const topic = await createTopic(kafka, partitions);
  try {
    return await work(topic);
  } finally {
    await deleteTopic(kafka, topic);
  }
}
