/**
 * What the clients of these tests attach to: a gateway of their own, or, to be sure that a test
 * asks for what Kafka does, a Kafka: `MILEPOST_TEST_KAFKA=127.0.0.1:9092 npm test -- test/clients`.
 */
import { randomUUID } from "node:crypto";
import { partitionOf } from "../../src/partitions/murmur2.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";

const kafka = process.env.MILEPOST_TEST_KAFKA;
/** For what only the gateway does, or does otherwise: `test.skipIf(isKafka)`. */
export const isKafka = kafka !== undefined;

/** A record as every client is made to tell it. */
export type ClientRecord = {
  partition: number;
  offset: number;
  timestamp: number;
  key: Buffer | null;
  value: Buffer | null;
  headers: [string, Buffer | null][];
};

export class Broker {
  readonly #gateway: Gateway | null;

  constructor(gateway: Gateway | null) {
    this.#gateway = gateway;
  }

  /** HOST:PORT for a client's bootstrap. */
  get address(): string {
    return kafka ?? `127.0.0.1:${this.gateway.ports.kafka}`;
  }

  get gateway(): Gateway {
    if (this.#gateway === null) throw new Error("not with a Kafka");
    return this.#gateway;
  }

  async stop(): Promise<void> {
    await this.#gateway?.stop();
  }
}

export async function startBroker(args: string[] = []): Promise<Broker> {
  return new Broker(isKafka ? null : await startGateway({ args }));
}

/** A name of its own, so that tests can share a broker, and a Kafka can be used twice. */
export function fresh(name: string): string {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

export function text(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString();
}

/** Where the gateway puts a key. */
export function ownPartition(key: string | Buffer, partitions: number): number {
  const bytes = Buffer.from(key);
  return partitionOf(bytes, 0, bytes.length, partitions);
}
