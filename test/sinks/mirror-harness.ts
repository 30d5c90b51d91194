/** What the mirror's tests share: records of all kinds in the source, and both sides compared. */
import { Admin, ListOffsetTimestamps, Consumer } from "@platformatic/kafka";
import { expect } from "vitest";
import { BatchBuilder, type Header } from "../../src/batch/builder.ts";
import { endOffset, producerId } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { RawFetch } from "../../src/uplink/raw-fetch.ts";
import { RawProduce } from "../../src/uplink/raw-produce.ts";
import { Mirror } from "../../src/sinks/mirror.ts";
import { SinkFailure, type Slice, type Taken } from "../../src/sinks/target.ts";
import { compressBatch, forms } from "../batch/compress.ts";
import { noLetters, topicId } from "./slices.ts";

export const partitions = 3;
const hourAgo = Date.now() - 3_600_000;
const options = { clientId: "test", connectTimeout: 5000, requestTimeout: 30_000, retries: 0 };

export type Read = {
  offset: number;
  timestamp: number;
  key: string | null;
  value: string | null;
  headers: [string, string][];
  producer: number;
};

export const optionsTo = (brokers: string) => ({
  ...options,
  bootstrapBrokers: brokers.split(","),
});

export async function withAdmin<T>(broker: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ ...options, bootstrapBrokers: [broker] });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

/** All records, by partition. */
export async function readAll(broker: string, topic: string): Promise<Read[][]> {
  const consumer = new Consumer({ ...options, bootstrapBrokers: [broker], groupId: "none" });
  const fetch = new RawFetch({ ...options, bootstrapBrokers: [broker] });
  try {
    const { topics, brokers } = await consumer.metadata({ topics: [topic] });
    const [first, last] = await Promise.all(
      [ListOffsetTimestamps.EARLIEST, ListOffsetTimestamps.LATEST].map(async (timestamp) =>
        (await consumer.listOffsets({ topics: [topic], timestamp })).get(topic),
      ),
    );
    const all = (topics.get(topic)?.partitions ?? []).map(async ({ leader }, partition) => {
      const records: Read[] = [];
      const end = Number(last?.[partition]);
      for (let at = Number(first?.[partition]); at < end;) {
        const wanted = [{ topic, partitions: [{ partition, offset: at }] }];
        const bounds = { waitMs: 100, bytesMin: 1, bytesMax: 4e6, partitionBytesMax: 4e6 };
        const node = brokers.get(leader);
        if (node === undefined) throw new Error("no leader");
        const [{ batches, errorCode }] = await fetch.fetch(node, { ...bounds, topics: wanted });
        if (errorCode !== 0) throw new Error(`fetch: ${errorCode}`);
        for (const batch of batches) {
          for (const { key, value, headers, ...record } of recordsOf(batch)) {
            if (record.offset < at) continue;
            records.push({
              ...record,
              key: textOf(key),
              value: textOf(value),
              headers: headers.map(([name, bytes]) => [
                name,
                Buffer.from(bytes).toString("latin1"),
              ]),
              producer: producerId(batch),
            });
          }
          at = endOffset(batch);
        }
      }
      return records;
    });
    return await Promise.all(all);
  } finally {
    await consumer.close(true);
    await fetch.close();
  }
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("latin1");
}

/** What the target should hold, but for records at these places, `partition/offset`. */
export function mirrored(source: Read[][], without: string[] = []): object[][] {
  return source.map((records, partition) =>
    records
      .filter(({ offset }) => !without.includes(`${partition}/${offset}`))
      .map(({ key, value, headers, timestamp, offset }) => ({
        key,
        value,
        timestamp,
        headers: [...headers, ["milepost-offset", `${offset}`]],
      })),
  );
}

/** Each record of the source once, in its order, and nothing else. */
export async function expectMirrored(
  source: string,
  target: string,
  topic: string,
  without: string[] = [],
): Promise<void> {
  const wanted = mirrored(await readAll(source, topic), without);
  const found = (await readAll(target, topic)).slice(0, wanted.length);
  expect(found.map((records) => records.map(contentOf))).toEqual(wanted);
}

function contentOf({ key, value, headers, timestamp }: Read): object {
  return { key, value, headers, timestamp };
}

export async function countOf(broker: string, topic: string): Promise<number> {
  return withAdmin(broker, async (admin) => {
    const partitionsOf = (await admin.metadata({ topics: [topic] })).topics.get(topic);
    const asked = (partitionsOf?.partitions ?? []).map((_, partitionIndex) => {
      return { partitionIndex, timestamp: ListOffsetTimestamps.LATEST };
    });
    const [found] = await admin.listOffsets({ topics: [{ name: topic, partitions: asked }] });
    return found.partitions.reduce((sum, { offset }) => sum + Number(offset), 0);
  }).catch(() => 0);
}

/** Batches of all kinds, straight into the gateway: they are drawn from a seed. */
export class Writer {
  readonly #broker: { host: string; port: number };
  readonly #topic: string;
  readonly #raw: RawProduce;
  #seed: number;
  #written = 0;

  constructor(port: number, topic: string, seed: number) {
    this.#broker = { host: "127.0.0.1", port };
    this.#topic = topic;
    this.#seed = seed;
    this.#raw = new RawProduce({ ...options, bootstrapBrokers: [] });
  }

  #draw(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (this.#seed >>> 8) % below;
  }

  #bytes(most: number): Uint8Array {
    return Buffer.from(Array.from({ length: this.#draw(most + 1) }, () => this.#draw(256)));
  }

  #headers(): Header[] | null {
    const kinds = [[], ["a"], ["a", "a", ""], ["milepost-offset"]];
    const names = kinds[this.#draw(kinds.length)];
    return names.map((name) => [Buffer.from(name), this.#bytes(name === "a" ? 9 : 0)]);
  }

  async write(batches: number): Promise<void> {
    for (let i = 0; i < batches; i++) {
      const builder = new BatchBuilder();
      for (let left = 1 + this.#draw(40); left > 0; left--) {
        const key = this.#draw(5) === 0 ? null : this.#bytes(20);
        const value =
          this.#draw(7) === 0
            ? null
            : Buffer.from(`${this.#written++}:${"x".repeat(this.#draw(200))}`);
        const timestamp = hourAgo + this.#draw(1_000_000) - 500_000;
        builder.append(
          key,
          0,
          key?.length ?? 0,
          value,
          0,
          value?.length ?? 0,
          timestamp,
          this.#headers(),
        );
      }
      builder.seal();
      const plain = builder.sealed().slice();
      const batch = compressBatch(plain, forms[this.#draw(2 * forms.length)] ?? "none");
      await this.send(this.#draw(partitions), batch);
    }
  }

  async send(partition: number, batch: Uint8Array): Promise<void> {
    const one = { topic: this.#topic, partition, batch };
    const [{ errorCode }] = await this.#raw.produce(this.#broker, [one], 10_000);
    expect(errorCode).toBe(0);
  }

  close(): Promise<void> {
    return this.#raw.close();
  }
}

/** Slices as the worker would have them, small ones. */
export class SourceReader {
  readonly #broker: { host: string; port: number };
  readonly #topic: string;
  readonly #fetch: RawFetch;

  constructor(broker: string, topic: string) {
    this.#broker = { host: "127.0.0.1", port: Number(broker.split(":")[1]) };
    this.#topic = topic;
    this.#fetch = new RawFetch(optionsTo(broker));
  }

  /** From these offsets on, by partition; only what is there. */
  async slices(next: number[], bytesMax = 20_000): Promise<Slice[]> {
    const topic = this.#topic;
    const asked = next.map((offset, partition) => ({ partition, offset }));
    const bounds = { waitMs: 10, bytesMin: 1, bytesMax: 1e6, partitionBytesMax: bytesMax };
    const topics = [{ topic, partitions: asked }];
    const fetched = await this.#fetch.fetch(this.#broker, { ...bounds, topics });
    return fetched.flatMap(({ partition, batches }) => {
      const last = batches.at(-1);
      if (last === undefined) return [];
      return [{ topic, topicId, partition, start: next[partition], end: endOffset(last), batches }];
    });
  }

  close(): Promise<void> {
    return this.#fetch.close();
  }
}

export const mirrorTo = (source: string, target: string): Mirror =>
  new Mirror({ source: optionsTo(source), target: optionsTo(target), say: () => {} });

export const wanted = (topic: string): Taken[] =>
  Array.from({ length: partitions }, (_, partition) => ({ topic, topicId, partition, first: 0 }));

/** Two that both think the partitions theirs, until there is no more; their batches differ. */
export async function writeAtOnce(source: string, target: string, topic: string): Promise<void> {
  const mirrors = [mirrorTo(source, target), mirrorTo(source, target)];
  const reader = new SourceReader(source, topic);
  // its last record says whose numbers both go on with
  const first = (await again(() => mirrors[0].open(wanted(topic)))).map((one) => one.next);
  const opening = await reader.slices(first, 1);
  await again(() => mirrors[0].write(opening, noLetters));
  await Promise.all(
    mirrors.map(async (mirror, i) => {
      for (let next: number[] | null = null; ;) {
        next ??= (await again(() => mirror.open(wanted(topic)))).map((one) => one.next);
        const slices = await reader.slices(next, 1 + 5000 * i);
        if (slices.length === 0) return;
        const { lost } = await again(() => mirror.write(slices, noLetters));
        if (lost.length > 0) next = null;
        else for (const { partition, end } of slices) next[partition] = end;
      }
    }),
  );
  await Promise.all(mirrors.map((mirror) => mirror.close()));
  await reader.close();
}

/** As the worker: a topic that was just made has no leaders yet. */
async function again<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SinkFailure) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
