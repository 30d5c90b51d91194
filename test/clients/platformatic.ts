/** What the tests with @platformatic/kafka share. */
import type { BaseOptions, Message } from "@platformatic/kafka";
import type { ClientRecord } from "./broker.ts";

export function options(address: string): BaseOptions {
  return { clientId: "test", bootstrapBrokers: [address], retries: 10, retryDelay: 50 };
}

export function asRecord(message: Message): ClientRecord {
  return {
    partition: message.partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: message.key ?? null,
    value: message.value ?? null,
    headers: message.headerEntries.map(([name, value]) => [String(name), value ?? null]),
  };
}
