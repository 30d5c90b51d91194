import { afterAll, beforeAll, describe, expect, test } from "vitest";
import fc from "fast-check";
import { deleteRecords } from "../../src/wire/apis/delete-records.ts";
import { listOffsets } from "../../src/wire/apis/list-offsets.ts";
import { offsetForLeaderEpoch } from "../../src/wire/apis/offset-for-leader-epoch.ts";
import { E, errorNames } from "../../src/wire/errors.ts";
import { compressBatch, forms } from "../batch/compress.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { batchOf } from "./batches.ts";
import { createTopic, errorName, fetchRecords, sendOne } from "./producing.ts";
import { WireClient } from "./wire-client.ts";

const NOW = Date.now();
const [LATEST, EARLIEST, NEWEST] = [-1, -2, -3];

let gateway: Gateway;
let client: WireClient;
let topics = 0;

beforeAll(async () => {
  gateway = await startGateway();
  client = await WireClient.open(gateway.ports.kafka);
});

afterAll(async () => {
  client.close();
  await gateway.stop();
});

async function newTopic(partitions = 1, config: Record<string, string> = {}): Promise<string> {
  const name = `t${topics++}`;
  await createTopic(client, name, partitions, config);
  return name;
}

/** One batch, whose records have these times; its first offset. */
async function append(topic: string, ...times: number[]): Promise<number> {
  const bytes = batchOf(times.map((timestamp) => ({ key: "k", value: "v", timestamp })));
  const answer = await sendOne(client, topic, bytes);
  expect(errorName(answer)).toBe("NONE");
  return answer.baseOffset;
}

type Asked = { timestamp: number; partition?: number; epoch?: number };

async function offsets(topic: string, asked: Asked[], version = 7) {
  const partitions = asked.map(({ timestamp, partition, epoch }) => {
    return { partitionIndex: partition ?? 0, currentLeaderEpoch: epoch ?? -1, timestamp };
  });
  const request = { replicaId: -1, isolationLevel: 0, topics: [{ name: topic, partitions }] };
  const { topics: answers } = await client.request(listOffsets, version, request);
  expect(answers.map(({ name }) => name)).toEqual([topic]);
  return answers[0].partitions;
}

const offsetAt = async (topic: string, timestamp: number, version = 7) =>
  (await offsets(topic, [{ timestamp }], version))[0];

const nothing = { errorCode: E.NONE, offset: -1, timestamp: -1, leaderEpoch: -1 };

describe("ListOffsets", () => {
  test.each([1, 2, 3, 4, 5, 6, 7])("version %i: the ends, and by time", async (version) => {
    const topic = await newTopic();
    const leaderEpoch = version >= 4 ? 0 : -1;
    const ends = { partitionIndex: 0, errorCode: E.NONE, timestamp: -1 };
    expect(await offsetAt(topic, LATEST, version)).toEqual({ ...ends, leaderEpoch, offset: 0 });
    expect(await offsetAt(topic, EARLIEST, version)).toMatchObject({ ...ends, offset: 0 });
    expect(await offsetAt(topic, 0, version)).toMatchObject(nothing);
    await append(topic, NOW, NOW + 5, NOW + 3);
    await append(topic, NOW + 4, NOW + 9);
    expect(await offsetAt(topic, LATEST, version)).toEqual({ ...ends, leaderEpoch, offset: 5 });
    expect(await offsetAt(topic, EARLIEST, version)).toEqual({ ...ends, leaderEpoch, offset: 0 });
    const found = async (time: number) => {
      const { offset, timestamp } = await offsetAt(topic, time, version);
      return [offset, timestamp - NOW];
    };
    expect(await found(0)).toEqual([0, 0]);
    expect(await found(NOW)).toEqual([0, 0]);
    expect(await found(NOW + 1)).toEqual([1, 5]);
    expect(await found(NOW + 6)).toEqual([4, 9]);
    expect(await offsetAt(topic, NOW + 10, version)).toMatchObject(nothing);
  });

  test("the newest record, from version 7 on", async () => {
    const topic = await newTopic();
    expect(await offsetAt(topic, NEWEST)).toMatchObject(nothing);
    await append(topic, NOW, NOW + 5, NOW + 5);
    await append(topic, NOW + 4);
    const newest = { errorCode: E.NONE, offset: 1, timestamp: NOW + 5, leaderEpoch: 0 };
    expect(await offsetAt(topic, NEWEST)).toMatchObject(newest);
    expect((await offsetAt(topic, NEWEST, 6)).errorCode).toBe(E.UNSUPPORTED_VERSION);
  });

  test.each([-4, -5, -6, -1000])("%i is a name that these versions do not have", async (name) => {
    const topic = await newTopic();
    const answers = await offsets(topic, [{ timestamp: name }]);
    expect(answers).toMatchObject([{ ...nothing, errorCode: E.UNSUPPORTED_VERSION }]);
  });

  test("each partition has its own answer", async () => {
    const topic = await newTopic(2);
    await append(topic, NOW);
    const answers = await offsets(topic, [
      { timestamp: LATEST },
      { timestamp: LATEST, partition: 1 },
      { timestamp: LATEST, partition: 2 },
      { timestamp: NOW, partition: -1 },
    ]);
    expect(answers.map(({ errorCode, offset }) => [errorNames.get(errorCode), offset])).toEqual([
      ["NONE", 1],
      ["NONE", 0],
      ["UNKNOWN_TOPIC_OR_PARTITION", -1],
      ["UNKNOWN_TOPIC_OR_PARTITION", -1],
    ]);
    expect(await offsets("nowhere", [{ timestamp: EARLIEST }])).toMatchObject([
      { ...nothing, errorCode: E.UNKNOWN_TOPIC_OR_PARTITION },
    ]);
  });

  test("a partition that is asked for twice is refused, others are not", async () => {
    const topic = await newTopic(2);
    const asked = [0, 1, 0].map((partition) => ({ timestamp: LATEST, partition }));
    const answers = await offsets(topic, asked);
    expect(answers.map(errorName)).toEqual(["INVALID_REQUEST", "NONE", "INVALID_REQUEST"]);
  });

  test("a leader epoch of another time is refused", async () => {
    const topic = await newTopic();
    const byEpoch = async (epoch: number) =>
      errorName((await offsets(topic, [{ timestamp: LATEST, epoch }]))[0]);
    expect(await byEpoch(0)).toBe("NONE");
    expect(await byEpoch(1)).toBe("UNKNOWN_LEADER_EPOCH");
  });

  test("any times, in any order, in any batches: the first record at or after each", async () => {
    const batch = fc.record({
      times: fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 6 }),
      form: fc.constantFrom(...forms),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 12 }), async (batches) => {
        const topic = await newTopic();
        const model: { offset: number; timestamp: number }[] = [];
        for (const { times, form } of batches) {
          const plain = batchOf(
            times.map((timestamp) => ({ key: "k", value: `${timestamp}`, timestamp })),
          );
          await sendOne(client, topic, compressBatch(plain, form));
          for (const timestamp of times) model.push({ offset: model.length, timestamp });
        }
        for (let time = 0; time <= 31; time++) {
          const { offset, timestamp } = await offsetAt(topic, time);
          const expected = model.find((r) => r.timestamp >= time) ?? { offset: -1, timestamp: -1 };
          expect({ offset, timestamp }).toEqual(expected);
        }
      }),
      { numRuns: 12 },
    );
  }, 120_000);
});

describe("DeleteRecords", () => {
  async function deleted(topic: string, offset: number, { version = 2, partition = 0 } = {}) {
    const partitions = [{ partitionIndex: partition, offset }];
    const request = { topics: [{ name: topic, partitions }], timeoutMs: 10_000 };
    const answer = await client.request(deleteRecords, version, request);
    const { errorCode, lowWatermark } = answer.topics[0].partitions[0];
    return [errorNames.get(errorCode), lowWatermark];
  }

  test.each([0, 1, 2])("version %i moves the start", async (version) => {
    const topic = await newTopic();
    await append(topic, NOW, NOW, NOW, NOW, NOW);
    expect(await deleted(topic, 3, { version })).toEqual(["NONE", 3]);
    expect(await offsetAt(topic, EARLIEST)).toMatchObject({ offset: 3 });
    expect((await fetchRecordsFrom(topic, 3)).map(({ offset }) => offset)).toEqual([3, 4]);
    // what is gone stays gone
    expect(await deleted(topic, 1, { version })).toEqual(["NONE", 3]);
    expect(await deleted(topic, -1, { version })).toEqual(["NONE", 5]);
    expect(await offsetAt(topic, 0)).toMatchObject(nothing);
    expect(await append(topic, NOW)).toBe(5);
  });

  const fetchRecordsFrom = async (topic: string, from: number) =>
    (await fetchRecords(client, topic, 0, from)).filter(({ offset }) => offset >= from);

  test("beyond the end, or before the beginning of all", async () => {
    const topic = await newTopic();
    await append(topic, NOW, NOW);
    expect(await deleted(topic, 3)).toEqual(["OFFSET_OUT_OF_RANGE", -1]);
    expect(await deleted(topic, -2)).toEqual(["OFFSET_OUT_OF_RANGE", -1]);
    expect(await deleted(topic, 2)).toEqual(["NONE", 2]);
  });

  test("what may not be deleted, and what is not there", async () => {
    const both = await newTopic(1, { "cleanup.policy": "compact,delete" });
    const compacted = await newTopic(1, { "cleanup.policy": "compact" });
    expect(await deleted(both, 0)).toEqual(["NONE", 0]);
    expect(await deleted(compacted, 0)).toEqual(["POLICY_VIOLATION", -1]);
    expect(await deleted("__consumer_offsets", 0)).toEqual(["TOPIC_AUTHORIZATION_FAILED", -1]);
    expect(await deleted("nowhere", 0)).toEqual(["UNKNOWN_TOPIC_OR_PARTITION", -1]);
    expect(await deleted(both, 0, { partition: 1 })).toEqual(["UNKNOWN_TOPIC_OR_PARTITION", -1]);
  });
});

describe("OffsetForLeaderEpoch", () => {
  async function endOf(topic: string, leaderEpoch: number, current = -1, version = 4) {
    const partitions = [{ partition: 0, currentLeaderEpoch: current, leaderEpoch }];
    const request = { replicaId: -1, topics: [{ topic, partitions }] };
    const { topics: answers } = await client.request(offsetForLeaderEpoch, version, request);
    const { errorCode, leaderEpoch: epoch, endOffset } = answers[0].partitions[0];
    return [errorNames.get(errorCode), epoch, endOffset];
  }

  async function restart(): Promise<void> {
    client.close();
    await gateway.end("SIGTERM");
    await gateway.start();
    client = await WireClient.open(gateway.ports.kafka);
  }

  test("every start is an epoch; one that wrote nothing ends where it began", async () => {
    const topic = await newTopic();
    const idle = await newTopic();
    const { leaderEpoch: first } = await offsetAt(topic, LATEST);
    await append(topic, NOW, NOW, NOW);
    expect(await endOf(topic, first)).toEqual(["NONE", first, 3]);
    expect(await endOf(topic, first + 1)).toEqual(["NONE", -1, -1]);
    await restart();
    // it has written nothing yet
    expect(await endOf(topic, first + 1)).toEqual(["NONE", first + 1, 3]);
    await restart();
    await append(topic, NOW, NOW);
    for (const version of [2, 3, 4]) {
      expect(await endOf(topic, first, -1, version)).toEqual(["NONE", first, 3]);
      expect(await endOf(topic, first + 1, -1, version)).toEqual(["NONE", first, 3]);
      expect(await endOf(topic, first + 2, -1, version)).toEqual(["NONE", first + 2, 5]);
      expect(await endOf(topic, first + 3, -1, version)).toEqual(["NONE", -1, -1]);
    }
    expect(await endOf(topic, -1)).toEqual(["NONE", -1, -1]);
    expect(await endOf(idle, first)).toEqual(["NONE", first, 0]);
    expect(await offsetAt(topic, EARLIEST)).toMatchObject({ leaderEpoch: first });
    expect(await offsetAt(topic, 0)).toMatchObject({ leaderEpoch: first });
    expect(await offsetAt(topic, LATEST)).toMatchObject({ leaderEpoch: first + 2 });

    // whoever knows another leader has to ask who leads now
    expect(await endOf(topic, first, first + 2)).toEqual(["NONE", first, 3]);
    expect(await endOf(topic, first, first + 1)).toEqual(["FENCED_LEADER_EPOCH", -1, -1]);
    expect(await endOf(topic, first, first + 3)).toEqual(["UNKNOWN_LEADER_EPOCH", -1, -1]);
    expect(await endOf("nowhere", first)).toEqual(["UNKNOWN_TOPIC_OR_PARTITION", -1, -1]);
    const stale = await offsets(topic, [{ timestamp: LATEST, epoch: first }]);
    expect(stale.map(errorName)).toEqual(["FENCED_LEADER_EPOCH"]);
  }, 120_000);
});
