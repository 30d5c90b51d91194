/**
 * Idempotent producers of three clients through kills of the gateway, as a history: what was
 * acknowledged is there, once, where the acknowledgement said; and nothing is out of order.
 */
import { Producer } from "@platformatic/kafka";
import { CompressionTypes } from "kafkajs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { dump, startGateway, type Gateway } from "../harness/gateway.ts";
import { missing } from "../setup/parts.ts";
import { kafkajs } from "./kafkajs.ts";
import { build, closeAll, Librdkafka } from "./librdkafka.ts";
import { options } from "./platformatic.ts";

const PARTITIONS = 4;
const KILLS = 3;
const topic = "history";
const patiently = { timeout: 60_000, interval: 20 };
const hasLibrdkafka = !missing("librdkafka");

let gateway: Gateway;
let address: string;
let stopping = false;

/** Acknowledged: `PARTITION/OFFSET` → value. Values of a client ascend: `NAME ROUND INDEX`. */
type History = { name: string; acknowledged: Map<string, string>; run(): Promise<void> };

function history(name: string, send: (round: number, h: History) => Promise<void>): History {
  const made: History = {
    name,
    acknowledged: new Map(),
    async run() {
      for (let round = 0; !stopping; round++) await send(round, made);
    },
  };
  return made;
}

/** 40 records, of which the i-th goes to partition i % 4. */
const batch = (name: string, round: number) =>
  Array.from({ length: 40 }, (_, i) => ({
    partition: i % PARTITIONS,
    key: Buffer.from(name),
    value: Buffer.from(`${name} ${round} ${i}`),
  }));

function acknowledge(
  { acknowledged }: History,
  sent: ReturnType<typeof batch>,
  partition: number,
  baseOffset: number,
): void {
  const own = sent.filter((record) => record.partition === partition);
  own.forEach(({ value }, i) => acknowledged.set(`${partition}/${baseOffset + i}`, String(value)));
}

function ofPlatformatic(): History {
  const producer = new Producer({ ...options(address), idempotent: true, retries: 1000 });
  return history("platformatic", async (round, h) => {
    const sent = batch(h.name, round);
    const { offsets } = await producer.send({ messages: sent.map((r) => ({ topic, ...r })) });
    for (const { partition, offset } of offsets ?? []) {
      acknowledge(h, sent, partition, Number(offset));
    }
    if (stopping) await producer.close();
  });
}

async function ofKafkajs(): Promise<History> {
  const retry = { initialRetryTime: 50, maxRetryTime: 500, retries: 200 };
  const producer = kafkajs(address, { retry }).producer({
    idempotent: true,
    maxInFlightRequests: 1,
    retry,
  });
  await producer.connect();
  return history("kafkajs", async (round, h) => {
    const sent = batch(h.name, round);
    const compression = round % 2 === 0 ? CompressionTypes.None : CompressionTypes.GZIP;
    for (const told of await producer.send({ topic, messages: sent, compression })) {
      acknowledge(h, sent, told.partition, Number(told.baseOffset));
    }
    if (stopping) await producer.disconnect();
  });
}

/** Five requests in flight, many small batches. */
function ofLibrdkafka(): History {
  const producer = new Librdkafka("producer", address, {
    "enable.idempotence": true,
    "batch.num.messages": 20,
    "linger.ms": 1,
    "message.timeout.ms": 120_000,
    "retry.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "compression.codec": "lz4",
  });
  return history("librdkafka", async (round, { acknowledged }) => {
    const name = `librdkafka ${round}`;
    await producer.must("fill", topic, 500, name);
    const { delivered } = await producer.must("flush", 120_000);
    for (const [index, partition, offset, error] of delivered) {
      expect(error).toBeNull();
      acknowledged.set(`${partition}/${offset}`, `${name}:${index}`);
    }
    if (stopping) await producer.close();
  });
}

beforeAll(async () => {
  if (hasLibrdkafka) build();
  gateway = await startGateway();
  address = `127.0.0.1:${gateway.ports.kafka}`;
  const admin = kafkajs(address).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] });
  await admin.disconnect();
}, 60_000);
afterAll(async () => {
  stopping = true;
  await closeAll();
  await gateway?.stop();
});

test("each acknowledged record is there, once, in order, through kills", async () => {
  const histories = [
    ofPlatformatic(),
    await ofKafkajs(),
    ...(hasLibrdkafka ? [ofLibrdkafka()] : []),
  ];
  const running = histories.map((h) => h.run());
  const failed = Promise.all(running);
  failed.catch(() => {});
  const counts = (): number[] => histories.map(({ acknowledged }) => acknowledged.size);
  for (let kill = 0; kill < KILLS; kill++) {
    const before = counts();
    const less = () => histories.filter((_, i) => counts()[i] < before[i] + 500).map((h) => h.name);
    await Promise.race([failed, expect.poll(less, patiently).toEqual([])]);
    await gateway.kill();
    await gateway.start();
  }
  stopping = true;
  await failed;
  await gateway.end("SIGTERM");

  const records = await dump(gateway.dataDir, topic);
  const found = new Map(records.map((r) => [`${r.partition}/${r.offset}`, r.value]));
  for (const { name, acknowledged } of histories) {
    expect(acknowledged.size, name).toBeGreaterThan(KILLS * 500);
    const wrong = [...acknowledged].filter(([place, value]) => found.get(place) !== value);
    expect(wrong, name).toEqual([]);
  }
  const values = records.map((r) => r.value as string);
  const seen = new Set<string>();
  expect(values.filter((value) => seen.size === seen.add(value).size)).toEqual([]);
  const last = new Map<string, [number, number]>();
  for (const { partition, value } of records) {
    const [name, ...numbers] = (value as string).split(/[ :]/);
    const [round, index] = numbers.map(Number);
    const key = `${name}/${partition}`;
    const [lastRound, lastIndex] = last.get(key) ?? [-1, -1];
    const isNext = round > lastRound || (round === lastRound && index > lastIndex);
    expect(isNext, `${key}: ${value} after ${lastRound} ${lastIndex}`).toBe(true);
    last.set(key, [round, index]);
  }
}, 180_000);
