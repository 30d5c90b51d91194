import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attributes, lastOffsetDelta, maxTimestamp, verifyBatch } from "../../src/batch/header.ts";
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  MAGIC,
  MAX_TIMESTAMP,
  RECORD_COUNT,
} from "../../src/batch/layout.ts";
import { produce } from "../../src/wire/apis/produce.ts";
import { E } from "../../src/wire/errors.ts";
import { compressBatch, forms, withRecords } from "../batch/compress.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { batchOf, fresh, idempotent, recordsAt, withByte, withI64, withU32 } from "./batches.ts";
import {
  answersOf,
  createTopic,
  errorName,
  fetchBatches,
  fetchRecords,
  produceRequest,
  send,
  sendOne,
} from "./producing.ts";
import { WireClient } from "./wire-client.ts";

let gateway: Gateway;
let client: WireClient;

beforeAll(async () => {
  gateway = await startGateway();
  client = await WireClient.open(gateway.ports.kafka);
  await createTopic(client, "plain", 2);
  await createTopic(client, "compacted", 1, { "cleanup.policy": "compact" });
  await createTopic(client, "append-time", 1, { "message.timestamp.type": "LogAppendTime" });
  await createTopic(client, "small", 1, { "max.message.bytes": "2000" });
  await createTopic(client, "two-copies", 1, { "min.insync.replicas": "2" });
  await createTopic(client, "punctual", 1, {
    "message.timestamp.after.max.ms": "1000",
    "message.timestamp.before.max.ms": "60000",
  });
});

afterAll(async () => {
  client.close();
  await gateway.stop();
});

const versions = Array.from({ length: 11 }, (_, v) => v);
let topics = 0;
/** A topic for one test. */
async function newTopic(partitions = 1, config: Record<string, string> = {}): Promise<string> {
  const name = `t${topics++}`;
  await createTopic(client, name, partitions, config);
  return name;
}

describe("versions", () => {
  test.each(versions.filter((v) => v >= 3))("Produce %i appends and answers", async (version) => {
    const topic = await newTopic();
    for (const acks of [1, -1]) {
      const [answer] = await send(client, [{ topic, partition: 0, bytes: fresh(3) }], {
        acks,
        version,
      });
      const baseOffset = acks === 1 ? 0 : 3;
      const logStartOffset = version >= 5 ? 0 : -1;
      expect(answer).toEqual({
        topic,
        index: 0,
        errorCode: E.NONE,
        baseOffset,
        logAppendTimeMs: -1,
        logStartOffset,
        recordErrors: [],
        errorMessage: null,
      });
    }
    expect(await fetchRecords(client, topic)).toHaveLength(6);
  });

  test.each([0, 1, 2])("Produce %i is advertised, and refused for each partition", async (v) => {
    const sent = [0, 1].map((partition) => ({ topic: "plain", partition, bytes: fresh() }));
    const answers = await send(client, sent, { version: v, acks: 1 });
    expect(answers.map(errorName)).toEqual(["UNSUPPORTED_VERSION", "UNSUPPORTED_VERSION"]);
    expect(await fetchRecords(client, "plain")).toEqual([]);
  });
});

describe("a batch that is refused", () => {
  const rows: [string, string, (now: number) => Uint8Array | null, keyof typeof E][] = [
    ["no records", "plain", () => null, "INVALID_RECORD"],
    ["empty records", "plain", () => new Uint8Array(0), "INVALID_RECORD"],
    ["bad CRC", "plain", () => fresh().map((b, i) => (i === CRC ? b ^ 1 : b)), "CORRUPT_MESSAGE"],
    ["negative length", "plain", () => withU32(fresh(), BATCH_LENGTH, -7), "CORRUPT_MESSAGE"],
    ["length beyond", "plain", () => withU32(fresh(), BATCH_LENGTH, 9999), "INVALID_RECORD"],
    ["two batches", "plain", () => Buffer.concat([fresh(), fresh()]), "INVALID_RECORD"],
    ["magic 0", "plain", () => withByte(fresh(), MAGIC, 0), "INVALID_RECORD"],
    ["magic 1", "plain", () => withByte(fresh(), MAGIC, 1), "INVALID_RECORD"],
    ["base offset", "plain", () => withI64(fresh(), BASE_OFFSET, 1), "INVALID_RECORD"],
    ["record count", "plain", () => withU32(fresh(), RECORD_COUNT, 4), "INVALID_RECORD"],
    ["last offset", "plain", () => withU32(fresh(), LAST_OFFSET_DELTA, 9), "INVALID_RECORD"],
    ["control batch", "plain", () => withByte(fresh(), ATTRIBUTES + 1, 0x20), "INVALID_RECORD"],
    ["transaction", "plain", () => withByte(fresh(), ATTRIBUTES + 1, 0x10), "INVALID_RECORD"],
    ["sequence -1", "plain", () => idempotent(recordsAt(1), 7, 0, -1), "INVALID_RECORD"],
    [
      "unknown codec",
      "plain",
      () => withByte(fresh(), ATTRIBUTES + 1, 6),
      "UNSUPPORTED_COMPRESSION_TYPE",
    ],
    ["garbage", "plain", () => withRecords(fresh(), 1, Buffer.from("garbage")), "INVALID_RECORD"],
    ["above 1 MiB", "plain", () => large(1_100_000), "MESSAGE_TOO_LARGE"],
    ["above the topic's own size", "small", () => large(3000), "MESSAGE_TOO_LARGE"],
    ["2 h ahead", "plain", (now) => batchOf(recordsAt(now + 7_200_000)), "INVALID_TIMESTAMP"],
    ["10 s ahead", "punctual", (now) => batchOf(recordsAt(now + 10_000)), "INVALID_TIMESTAMP"],
    ["10 min behind", "punctual", (now) => batchOf(recordsAt(now - 600_000)), "INVALID_TIMESTAMP"],
    ["no key", "compacted", () => fresh(3, null), "INVALID_RECORD"],
    [
      "no key, compressed",
      "compacted",
      () => compressBatch(fresh(3, null), "gzip"),
      "INVALID_RECORD",
    ],
    ["a bomb", "compacted", () => compressBatch(bomb(), "gzip"), "MESSAGE_TOO_LARGE"],
    ["too few replicas", "two-copies", () => fresh(), "NOT_ENOUGH_REPLICAS"],
    ["unknown topic", "nowhere", () => fresh(), "UNKNOWN_TOPIC_OR_PARTITION"],
    ["a name that cannot be", "../..", () => fresh(), "UNKNOWN_TOPIC_OR_PARTITION"],
    ["offsets", "__consumer_offsets", () => fresh(), "TOPIC_AUTHORIZATION_FAILED"],
    ["what may become ours", "__anything", () => fresh(), "TOPIC_AUTHORIZATION_FAILED"],
  ];
  const large = (bytes: number): Uint8Array =>
    batchOf([{ key: "k", value: "x".repeat(bytes), timestamp: Date.now() }]);
  const bomb = (): Uint8Array => large(900_000);

  test.each(rows)("%s (%s)", async (_, topic, make, error) => {
    const good = { topic: "plain", partition: 1, bytes: fresh(1) };
    const [before] = await send(client, [good]);
    const bytes = make(Date.now());
    const answers = await send(client, [good, { topic, partition: 0, bytes }, good]);
    expect(answers.map(errorName)).toEqual(["NONE", error, "NONE"]);
    expect(answers[1]).toMatchObject({ baseOffset: -1, logAppendTimeMs: -1 });
    expect(answers[1].errorMessage).toBeTruthy();
    expect([answers[0].baseOffset, answers[2].baseOffset]).toEqual([
      before.baseOffset + 1,
      before.baseOffset + 2,
    ]);
    expect(await fetchRecords(client, "plain", 0)).toEqual([]);
  });

  test("the records for whose sake are named", async () => {
    const batch = batchOf([...recordsAt(Date.now(), 2), ...recordsAt(Date.now(), 1, null)]);
    const answer = await sendOne(client, "compacted", batch);
    expect(answer.recordErrors).toEqual([
      { batchIndex: 2, batchIndexErrorMessage: expect.stringContaining("key") as string },
    ]);
    const old = await sendOne(client, "compacted", batch, { version: 7 });
    expect(old).toMatchObject({ errorCode: E.INVALID_RECORD, errorMessage: null });
  });

  test.each([-1, 2, 9999, 0x7fff_ffff])("partition %i is not there", async (partition) => {
    const answer = await sendOne(client, "plain", fresh(), { partition });
    expect(answer).toMatchObject({ index: partition, errorCode: E.UNKNOWN_TOPIC_OR_PARTITION });
  });

  test("a bomb that nobody has to open is stored as it is", async () => {
    const topic = await newTopic();
    const packed = compressBatch(bomb(), "zstd");
    expect(errorName(await sendOne(client, topic, packed))).toBe("NONE");
    const [stored] = await fetchBatches(client, topic);
    expect(stored.length).toBe(packed.length);
  });

  test("zstd before Produce 7", async () => {
    const topic = await newTopic();
    const packed = compressBatch(fresh(), "zstd");
    const answer = await sendOne(client, topic, packed, { version: 6 });
    expect(errorName(answer)).toBe("UNSUPPORTED_COMPRESSION_TYPE");
    expect(errorName(await sendOne(client, topic, packed, { version: 7 }))).toBe("NONE");
  });
});

describe("a request that is refused as a whole", () => {
  test.each([2, -2, 127, -32768])("acks=%i", async (acks) => {
    const sent = [0, 1].map((partition) => ({ topic: "plain", partition, bytes: fresh() }));
    const answers = await send(client, sent, { acks });
    expect(answers.map(errorName)).toEqual(["INVALID_REQUIRED_ACKS", "INVALID_REQUIRED_ACKS"]);
  });

  test("a transaction", async () => {
    const request = produceRequest([{ topic: "plain", partition: 0, bytes: fresh() }]);
    const answers = answersOf(
      await client.request(produce, 9, { ...request, transactionalId: "mine" }),
    );
    expect(answers).toMatchObject([
      { errorCode: E.INVALID_TXN_STATE, errorMessage: "transactions are not served" },
    ]);
  });

  test("nothing to produce is answered by nothing", async () => {
    for (const version of versions) expect(await send(client, [], { version })).toEqual([]);
  });
});

describe("what is stored", () => {
  test.each(forms)("%s: the client's own bytes, with offsets and epoch", async (form) => {
    const topic = await newTopic();
    const batches = [3, 1, 5].map((count) => compressBatch(fresh(count), form));
    for (const bytes of batches) await sendOne(client, topic, bytes);
    const stored = await fetchBatches(client, topic);
    // what lies behind the leader epoch is not touched
    expect(stored.map((b) => Buffer.from(b.subarray(16)).toString("hex"))).toEqual(
      batches.map((b) => Buffer.from(b.subarray(16)).toString("hex")),
    );
    const offsets = (await fetchRecords(client, topic)).map(({ offset }) => offset);
    expect(offsets).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("a newest timestamp that the records do not have is put right", async () => {
    const topic = await newTopic();
    const now = Date.now();
    const wrong = withI64(batchOf(recordsAt(now)), MAX_TIMESTAMP, now - 5000);
    expect(errorName(await sendOne(client, topic, compressBatch(wrong, "snappy")))).toBe("NONE");
    const [stored] = await fetchBatches(client, topic);
    expect(maxTimestamp(stored)).toBe(now);
    expect(verifyBatch(stored)).toBe(true);
  });

  test.each(forms)("%s: LogAppendTime gives every record the time of the append", async (form) => {
    const before = Date.now();
    const answer = await sendOne(client, "append-time", compressBatch(batchOf(recordsAt(5)), form));
    expect(errorName(answer)).toBe("NONE");
    expect(answer.logAppendTimeMs).toBeGreaterThanOrEqual(before);
    expect(answer.logAppendTimeMs).toBeLessThanOrEqual(Date.now());
    const [stored] = await fetchBatches(client, "append-time", 0, answer.baseOffset);
    expect(verifyBatch(stored)).toBe(true);
    expect(attributes(stored) & 8).toBe(8);
    const records = (await fetchRecords(client, "append-time")).slice(-3);
    expect(records.map(({ timestamp }) => timestamp)).toEqual(
      [1, 2, 3].map(() => answer.logAppendTimeMs),
    );
  });

  test("records without a time are stored without one", async () => {
    const topic = await newTopic();
    expect(errorName(await sendOne(client, topic, batchOf(recordsAt(-1))))).toBe("NONE");
    const [record] = await fetchRecords(client, topic);
    expect(record.timestamp).toBe(-1);
  });

  test("acks=1 does not ask for copies", async () => {
    expect(errorName(await sendOne(client, "two-copies", fresh(), { acks: 1 }))).toBe("NONE");
  });

  test("a partition twice in a request is appended twice, in order", async () => {
    const topic = await newTopic();
    const sent = [2, 3].map((count) => ({ topic, partition: 0, bytes: fresh(count) }));
    const answers = await send(client, sent);
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual([0, 2]);
  });
});

describe("acks=0", () => {
  test("gets no answer; what comes after it does", async () => {
    const topic = await newTopic();
    const one = await WireClient.open(gateway.ports.kafka);
    const request = produceRequest([{ topic, partition: 0, bytes: fresh(2) }], 0);
    for (let i = 0; i < 10; i++) one.send(produce, 9, request);
    const answer = await sendOne(one, topic, fresh(2));
    expect(answer.baseOffset).toBe(20);
    one.close();
  });

  test.each([
    ["an unknown topic", 9, "nowhere", () => fresh()],
    ["a bad batch", 9, "plain", () => withByte(fresh(), MAGIC, 1)],
    ["a version that is not served", 1, "plain", () => fresh()],
  ])("%s closes the connection, and only that", async (_, version, topic, make) => {
    const one = await WireClient.open(gateway.ports.kafka);
    one.send(produce, version, produceRequest([{ topic, partition: 0, bytes: make() }], 0));
    expect(await one.nextFrame()).toBe(null);
    expect(errorName(await sendOne(client, "plain", fresh(), { partition: 1 }))).toBe("NONE");
  });
});

describe("requests of one connection", () => {
  test("reach the log in their order, however long each takes to look at", async () => {
    const topic = await newTopic();
    const one = await WireClient.open(gateway.ports.kafka);
    const value = Array.from({ length: 40_000 }, (_, i) => `${i}`).join();
    const slow = (i: number): Uint8Array => {
      const record = { key: `${i}`, value, timestamp: Date.now() };
      const plain = batchOf([record, record, record, record]);
      return withRecords(plain, 1, gzipSync(plain.subarray(61), { level: 1 }));
    };
    const quick = (i: number): Uint8Array =>
      batchOf([{ key: `${i}`, value: "v", timestamp: Date.now() }]);
    const many = Array.from({ length: 24 }, (_, i) => i);
    for (const i of many) {
      const bytes = i % 3 === 0 ? slow(i) : quick(i);
      const extra = i % 3 === 0 ? [slow(i), slow(i)] : [];
      const sent = [bytes, ...extra].map((b) => ({ topic, partition: 0, bytes: b }));
      one.send(produce, 9, produceRequest(sent));
    }
    const offsets: number[] = [];
    for (const _ of many) {
      const answer = await one.answer(produce, 9);
      if (answer === null) throw new Error("closed");
      for (const { errorCode, baseOffset } of answersOf(answer)) {
        expect(errorCode).toBe(E.NONE);
        offsets.push(baseOffset);
      }
    }
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    const keys = (await fetchRecords(client, topic)).map(({ key }) => `${Buffer.from(key ?? [])}`);
    expect([...new Set(keys)]).toEqual(many.map(String));
    one.close();
  });

  test("may be larger than a message of the log thread takes at once", async () => {
    const topic = await newTopic(16);
    const value = "x".repeat(1_000_000);
    const sent = Array.from({ length: 16 }, (_, partition) => {
      const bytes = batchOf([{ key: `${partition}`, value, timestamp: Date.now() }]);
      return { topic, partition, bytes };
    });
    for (let round = 0; round < 3; round++) {
      const answers = await send(client, sent);
      expect(answers.map(({ baseOffset }) => baseOffset)).toEqual(sent.map(() => round));
    }
    const [stored] = await fetchBatches(client, topic, 15);
    expect(lastOffsetDelta(stored)).toBe(0);
  }, 30_000);
});
