/** What one client sends, the others read: the same bytes, times, order and partitions. */
import { compatibilityPartitioner, Consumer, Producer } from "@platformatic/kafka";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CompressionTypes } from "kafkajs";
import mqtt from "mqtt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ping } from "../listeners/mqtt/bytes.ts";
import { missing } from "../setup/parts.ts";
import {
  fresh,
  isKafka,
  ownPartition,
  startBroker,
  type Broker,
  type ClientRecord,
} from "./broker.ts";
import { kcat, consume } from "./kcat.ts";
import { asRecord as ofKafkajs, kafkajs } from "./kafkajs.ts";
import { build, closeAll, Librdkafka } from "./librdkafka.ts";
import { asRecord as ofPlatformatic, options } from "./platformatic.ts";

const hasKcat = !missing("kcat");
const hasLibrdkafka = !missing("librdkafka");
const folder = mkdtempSync(join(tmpdir(), "milepost-across-"));
let broker: Broker;
beforeAll(async () => {
  if (hasLibrdkafka) build();
  broker = await startBroker();
}, 60_000);
afterAll(async () => {
  await closeAll();
  await broker?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function topicOf(name: string, numPartitions: number): Promise<string> {
  const topic = fresh(name);
  const admin = kafkajs(broker.address).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions }] });
  await admin.disconnect();
  return topic;
}

type Sent = {
  key: Buffer | null;
  value: Buffer | null;
  headers: [string, Buffer][];
  timestamp: number;
  partition?: number;
};
type Codec = "none" | "gzip" | "snappy" | "lz4" | "zstd";
type Send = (topic: string, records: Sent[], codec: Codec) => Promise<void>;
type Read = (topic: string, count: number) => Promise<ClientRecord[]>;

const senders: Record<string, Send> = {
  async kafkajs(topic, records, codec) {
    const producer = kafkajs(broker.address).producer();
    await producer.connect();
    const compression = codec === "gzip" ? CompressionTypes.GZIP : CompressionTypes.None;
    const messages = records.map(({ headers, timestamp, ...record }) => {
      const named: Record<string, Buffer[]> = {};
      for (const [name, value] of headers) (named[name] ??= []).push(value);
      return { ...record, headers: named, timestamp: String(timestamp) };
    });
    await producer.send({ topic, messages, compression });
    await producer.disconnect();
  },
  async platformatic(topic, records, compression) {
    // its default is murmur2 without Java's cut of the sign, which only agrees for 2^n partitions
    const partitioner = compatibilityPartitioner;
    const producer = new Producer({ ...options(broker.address), partitioner });
    const messages = records.map(({ key, value, headers, timestamp, partition }) => ({
      topic,
      partition,
      key: key ?? undefined,
      value: value ?? undefined,
      headers: new Map(headers.map(([name, bytes]) => [Buffer.from(name), bytes])),
      timestamp: BigInt(timestamp),
    }));
    await producer.send({ messages, compression, acks: -1 });
    await producer.close();
  },
  ...(hasLibrdkafka
    ? {
        async librdkafka(topic: string, records: Sent[], codec: Codec) {
          const settings = { "compression.codec": codec, partitioner: "murmur2_random" };
          const producer = new Librdkafka("producer", broker.address, settings);
          for (const { key, value, headers, timestamp, partition = -1 } of records) {
            const place = [topic, partition] as const;
            await producer.must("produce", ...place, key, value, timestamp, ...headers.flat());
          }
          await producer.must("flush");
          await producer.close();
        },
      }
    : {}),
};

const readers: Record<string, Read> = {
  async kafkajs(topic, count) {
    const consumer = kafkajs(broker.address).consumer({
      groupId: fresh("across"),
      maxWaitTimeInMs: 50,
    });
    const records: ClientRecord[] = [];
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ eachMessage: async (m) => void records.push(ofKafkajs(m)) });
    await expect.poll(() => records.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(count);
    await consumer.disconnect();
    return records;
  },
  async platformatic(topic, count) {
    const groupId = fresh("across");
    const consumer = new Consumer({ ...options(broker.address), groupId, maxWaitTime: 50 });
    const stream = await consumer.consume({ topics: [topic], mode: "earliest" });
    const records: ClientRecord[] = [];
    stream.on("data", (message) => records.push(ofPlatformatic(message)));
    await expect.poll(() => records.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(count);
    await consumer.close(true);
    return records;
  },
  ...(hasLibrdkafka
    ? {
        async librdkafka(topic: string, count: number) {
          const consumer = new Librdkafka("consumer", broker.address, {
            "group.id": fresh("across"),
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
          });
          await consumer.must("subscribe", topic);
          const records = await consumer.poll(count, 10_000);
          await consumer.close();
          return records;
        },
      }
    : {}),
  ...(hasKcat
    ? { kcat: (topic: string) => consume(broker.address, topic, ["-o", "beginning", "-e"]) }
    : {}),
};

/** By partition and offset, with no field that a client adds of its own. */
function inOrder(records: ClientRecord[]): ClientRecord[] {
  return records
    .map(({ partition, offset, timestamp, key, value, headers }) => {
      return { partition, offset, timestamp, key, value, headers };
    })
    .sort((a, b) => a.partition - b.partition || a.offset - b.offset);
}

/** What every client reads, once it is the same for all. */
async function readByAll(
  topic: string,
  count: number,
  names = Object.keys(readers),
): Promise<ClientRecord[]> {
  const told = await Promise.all(
    names.map(async (name) => [name, inOrder(await readers[name](topic, count))] as const),
  );
  const [[first, expected]] = told;
  for (const [name, records] of told) expect(records, `${name}, ${first}`).toEqual(expected);
  expect(expected).toHaveLength(count);
  return expected;
}

const at = 1_700_000_000_000;
const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const records: Sent[] = [
  { key: "driver-1", value: '{"id":"driver-1"}' },
  { key: null, value: "without a key" },
  { key: "gone", value: null },
  { key: "", value: "" },
  { key: bytes, value: bytes },
  { key: "ключ", value: "значение, 🚕" },
  {
    key: "headers",
    value: "v",
    headers: [
      ["a", "1"],
      ["b", ""],
      ["c", "3"],
    ],
  },
  {
    key: "twice",
    value: "v",
    headers: [
      ["a", "1"],
      ["a", "2"],
    ],
  },
  { key: "large", value: Buffer.alloc(500_000, "0123456789abcdef") },
].map(({ key, value, headers = [] }, i) => ({
  key: key === null ? null : Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
  headers: (headers as string[][]).map(([name, text]): [string, Buffer] => [
    name,
    Buffer.from(text),
  ]),
  timestamp: at + i * 1000,
  partition: 0,
}));

const codecs: Codec[] = ["none", "gzip", "snappy", "lz4", "zstd"];
/** Without plug-ins kafkajs has gzip only. */
const canSend = (sender: string, codec: Codec): boolean =>
  sender !== "kafkajs" || codec === "none" || codec === "gzip";
const matrix = Object.keys(senders).flatMap((sender) =>
  codecs.filter((codec) => canSend(sender, codec)).map((codec) => [sender, codec] as const),
);

test.each(matrix)("what %s sends with %s is read by all", async (sender, codec) => {
  const topic = await topicOf(`${sender}-${codec}`, 1);
  const isOnce = ({ headers }: Sent) => new Set(headers.map(([n]) => n)).size === headers.length;
  // @platformatic/kafka takes headers as a Map
  const sent = sender === "platformatic" ? records.filter(isOnce) : records;
  await senders[sender](topic, sent, codec);
  const names = Object.keys(readers).filter((reader) => canSend(reader, codec));
  const got = await readByAll(topic, sent.length, names);
  expect(got).toEqual(sent.map((record, offset) => ({ ...record, offset })));
});

test.skipIf(!hasKcat)("what kcat sends is read by all", async () => {
  const topic = await topicOf("kcat", 1);
  const file = join(folder, "bytes");
  writeFileSync(file, bytes);
  const headers = ["-H", "a=1", "-H", "a=2", "-H", "b="];
  await kcat(broker.address, ["-P", "-t", topic, "-k", "ключ", "-z", "gzip", ...headers, file]);
  await kcat(broker.address, ["-P", "-t", topic, "-K", ":", "-Z"], "gone:\n");
  await kcat(broker.address, ["-P", "-t", topic], "without a key\n");
  const got = await readByAll(topic, 3);
  const named = (name: string, value: string) => [name, Buffer.from(value)];
  expect(got).toMatchObject([
    {
      key: Buffer.from("ключ"),
      value: bytes,
      headers: [named("a", "1"), named("a", "2"), named("b", "")],
    },
    { key: Buffer.from("gone"), value: null, headers: [] },
    { key: null, value: Buffer.from("without a key"), headers: [] },
  ]);
});

test.each(Object.keys(senders))("%s puts a key where the gateway would", async (sender) => {
  const PARTITIONS = 7;
  const topic = await topicOf(`keys-${sender}`, PARTITIONS);
  const keys = Array.from({ length: 200 }, (_, i) => Buffer.from(i % 3 ? `driver-${i}` : `д${i}`));
  const value = Buffer.from("v");
  const sent = keys.map((key) => ({ key, value, headers: [], timestamp: at }));
  await senders[sender](topic, sent, "none");
  for (const { key, partition } of await readByAll(topic, keys.length)) {
    expect(partition).toBe(ownPartition(key as Buffer, PARTITIONS));
  }
});

describe.skipIf(isKafka)("what devices send", () => {
  test("pings and events have the driver's key and are JSON, for every client", async () => {
    const drivers = ["across-1", "across-2", "водитель"];
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.gateway.ports.mqtt}`);
    const before = Date.now();
    for (let seq = 1; seq <= 20; seq++) {
      for (const id of drivers) {
        await client.publishAsync(`fleet/${id}/position`, ping(id, { seq }), { qos: 1 });
      }
    }
    await client.publishAsync("fleet/across-1/event", '{"kind":"door"}', { qos: 1 });
    await client.endAsync();

    const positions = await readByAll("positions", 60);
    for (const id of drivers) {
      const own = positions.filter(({ key }) => String(key) === id);
      expect(new Set(own.map((r) => r.partition))).toEqual(new Set([ownPartition(id, 16)]));
      const told = own.map(({ value }) => JSON.parse(String(value)) as { id: string; seq: number });
      expect(told.map((p) => [p.id, p.seq])).toEqual(own.map((_, i) => [id, i + 1]));
      for (const { timestamp } of own) expect(timestamp).toBeGreaterThanOrEqual(before);
    }
    const [event] = await readByAll("events", 1);
    expect([String(event.key), String(event.value)]).toEqual(["across-1", '{"kind":"door"}']);
  });
});
