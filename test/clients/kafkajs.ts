/** What the tests with kafkajs share. */
import { Kafka, logLevel, type EachMessagePayload, type KafkaConfig } from "kafkajs";
import type { ClientRecord } from "./broker.ts";

process.env.KAFKAJS_NO_PARTITIONER_WARNING = "1";

export function kafkajs(address: string, config: Partial<KafkaConfig> = {}): Kafka {
  const retry = { initialRetryTime: 50, maxRetryTime: 1000, retries: 10 };
  return new Kafka({ brokers: [address], logLevel: logLevel.NOTHING, retry, ...config });
}

export function asRecord({ partition, message }: EachMessagePayload): ClientRecord {
  const headers = Object.entries(message.headers ?? {}).flatMap(([name, value]) =>
    [value].flat().map((one): [string, Buffer | null] => [name, one as Buffer | null]),
  );
  return {
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: message.key,
    value: message.value,
    headers,
  };
}
