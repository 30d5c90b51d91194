import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeProducers } from "../../src/wire/apis/describe-producers.ts";
import { initProducerId } from "../../src/wire/apis/init-producer-id.ts";
import { produce } from "../../src/wire/apis/produce.ts";
import { E } from "../../src/wire/errors.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { idempotent, recordsAt } from "./batches.ts";
import {
  answersOf,
  createTopic,
  errorName,
  fetchRecords,
  newProducer,
  produceRequest,
  send,
  sendOne,
} from "./producing.ts";
import { WireClient } from "./wire-client.ts";

let dir: string;
let gateway: Gateway;
let client: WireClient;
let topics = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "milepost-idempotence-"));
  gateway = await startGateway({ dataDir: dir });
  client = await WireClient.open(gateway.ports.kafka);
});

afterAll(async () => {
  client.close();
  await gateway.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function killAndRestart(): Promise<void> {
  await gateway.kill();
  client.close();
  await gateway.start();
  client = await WireClient.open(gateway.ports.kafka);
}

async function newTopic(partitions = 1): Promise<string> {
  const name = `t${topics++}`;
  await createTopic(client, name, partitions);
  return name;
}

const batch = (producer: number, epoch: number, sequence: number, count = 1): Uint8Array =>
  idempotent(recordsAt(Date.now(), count), producer, epoch, sequence);

/** Sends a batch; the offset it got, or the name of the error. */
async function sent(topic: string, bytes: Uint8Array): Promise<number | string> {
  const answer = await sendOne(client, topic, bytes);
  return answer.errorCode === E.NONE ? answer.baseOffset : errorName(answer);
}

describe("InitProducerId", () => {
  const ask = { transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 };

  test.each([0, 1, 2, 3, 4])("version %i gives an id that nobody has", async (version) => {
    const ids = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const answer = await client.request(initProducerId, version, {
        ...ask,
        transactionalId: null,
      });
      expect(answer).toMatchObject({ errorCode: E.NONE, producerEpoch: 0 });
      ids.add(answer.producerId);
    }
    expect(ids.size).toBe(50);
  });

  test("a transactional id is refused", async () => {
    for (const transactionalId of ["mine", ""]) {
      const answer = await client.request(initProducerId, 4, { ...ask, transactionalId });
      expect(answer).toMatchObject({
        errorCode: E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        producerId: -1,
      });
    }
  });

  test("an id that a producer has is answered by a new one; half of one is refused", async () => {
    const old = await newProducer(client);
    const transactionalId = null;
    const again = { ...ask, transactionalId, producerId: old, producerEpoch: 3 };
    const answer = await client.request(initProducerId, 3, again);
    expect(answer).toMatchObject({ errorCode: E.NONE, producerEpoch: 0 });
    expect(answer.producerId).not.toBe(old);
    for (const half of [
      { producerId: old, producerEpoch: -1 },
      { producerId: -1, producerEpoch: 0 },
    ]) {
      const refused = await client.request(initProducerId, 4, { ...ask, transactionalId, ...half });
      expect(refused).toMatchObject({ errorCode: E.INVALID_REQUEST, producerId: -1 });
    }
  });

  test("ids are given once, across kill -9, and across connections at once", async () => {
    const ids: number[] = [];
    for (let round = 0; round < 2; round++) {
      const clients = await Promise.all([1, 2, 3].map(() => WireClient.open(gateway.ports.kafka)));
      const many = clients.map(async (c) => {
        for (let i = 0; i < 600; i++) ids.push(await newProducer(c));
      });
      await Promise.all(many);
      for (const c of clients) c.close();
      await killAndRestart();
    }
    expect(ids).toHaveLength(3600);
    expect(new Set(ids).size).toBe(3600);
  }, 120_000);
});

describe("an idempotent producer", () => {
  test("a batch sent again gets its first offset, and is there once", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    for (let s = 0; s < 6; s++) expect(await sent(topic, batch(id, 0, s * 3, 3))).toBe(s * 3);
    for (let s = 1; s < 6; s++) expect(await sent(topic, batch(id, 0, s * 3, 3))).toBe(s * 3);
    expect(await sent(topic, batch(id, 0, 0, 3))).toBe("DUPLICATE_SEQUENCE_NUMBER");
    expect(await fetchRecords(client, topic)).toHaveLength(18);
  });

  test("a gap, an old epoch, and an epoch that does not begin at 0 are refused", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    expect(await sent(topic, batch(id, 0, 0))).toBe(0);
    expect(await sent(topic, batch(id, 0, 2))).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(await sent(topic, batch(id, 1, 1))).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
    expect(await sent(topic, batch(id, 1, 0))).toBe(1);
    expect(await sent(topic, batch(id, 0, 1))).toBe("INVALID_PRODUCER_EPOCH");
    expect(await sent(topic, batch(id, 1, 1))).toBe(2);
    expect(await fetchRecords(client, topic)).toHaveLength(3);
  });

  test("the first request that is seen of it may begin anywhere", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    expect(await sent(topic, batch(id, 4, 70, 2))).toBe(0);
    expect(await sent(topic, batch(id, 4, 72))).toBe(2);
    // sent before it, perhaps, and not stored: not taken for a duplicate
    expect(await sent(topic, batch(id, 4, 69))).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
  });

  test("sequences go on at 0 after 2^31 - 1", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    const last = 2 ** 31 - 1;
    expect(await sent(topic, batch(id, 0, last - 1, 4))).toBe(0);
    expect(await sent(topic, batch(id, 0, 2))).toBe(4);
    expect(await sent(topic, batch(id, 0, last - 1, 4))).toBe(0);
    expect(await sent(topic, batch(id, 0, last))).toBe("DUPLICATE_SEQUENCE_NUMBER");
  });

  test("state is per partition, and one bad batch leaves the others of a request", async () => {
    const topic = await newTopic(3);
    const id = await newProducer(client);
    const first = [0, 1, 2].map((partition) => ({ topic, partition, bytes: batch(id, 0, 0) }));
    expect((await send(client, first)).map(errorName)).toEqual(["NONE", "NONE", "NONE"]);
    const sequences = [1, 5, 0];
    const second = sequences.map((s, partition) => {
      return { topic, partition, bytes: batch(id, 0, s) };
    });
    const answers = await send(client, second);
    expect(answers.map(errorName)).toEqual(["NONE", "OUT_OF_ORDER_SEQUENCE_NUMBER", "NONE"]);
    expect(answers.map(({ baseOffset }) => baseOffset)).toEqual([1, -1, 0]);
  });

  test("five requests on their way at once are appended in their order", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    for (let s = 0; s < 40; s++) {
      client.send(
        produce,
        9,
        produceRequest([{ topic, partition: 0, bytes: batch(id, 0, s * 2, 2) }]),
      );
    }
    for (let s = 0; s < 40; s++) {
      const answer = await client.answer(produce, 9);
      expect(answer && answersOf(answer)).toMatchObject([{ errorCode: E.NONE, baseOffset: s * 2 }]);
    }
  });

  test("remembers across kill -9, whatever was acknowledged", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 4; i++) {
        const s = (round * 4 + i) * 2;
        expect(await sent(topic, batch(id, 0, s, 2))).toBe(s);
      }
      await killAndRestart();
      const last = (round * 4 + 3) * 2;
      expect(await sent(topic, batch(id, 0, last, 2))).toBe(last);
      expect(await sent(topic, batch(id, 0, last - 2, 2))).toBe(last - 2);
      expect(await sent(topic, batch(id, 0, last + 4, 2))).toBe("OUT_OF_ORDER_SEQUENCE_NUMBER");
    }
    expect(await fetchRecords(client, topic)).toHaveLength(24);
  }, 120_000);

  test("what was on its way at kill -9 is sent again, and is there once", async () => {
    const topic = await newTopic();
    const id = await newProducer(client);
    let next = 0;
    for (let round = 0; round < 4; round++) {
      const until = next + 60;
      for (let s = next; s < until; s++) {
        client.send(produce, 9, produceRequest([{ topic, partition: 0, bytes: batch(id, 0, s) }]));
      }
      // some are answered, some are not, some are stored without an answer
      for (let i = 0; i < 5 + round * 11; i++) {
        const answer = await client.answer(produce, 9);
        if (answer !== null) expect(answersOf(answer)[0].baseOffset).toBe(next++);
      }
      await killAndRestart();
      // the oldest that is not acknowledged goes first; a client has five on their way
      for (; next < until; next++) {
        const answer = await sent(topic, batch(id, 0, next));
        if (answer !== "DUPLICATE_SEQUENCE_NUMBER") expect(answer).toBe(next);
      }
    }
    const offsets = (await fetchRecords(client, topic)).map(({ offset }) => offset);
    expect(offsets).toEqual(Array.from({ length: 240 }, (_, i) => i));
  }, 120_000);
});

test("a producer's last sequence is told, also after kill -9", async () => {
  const topic = await newTopic(2);
  const [one, other] = [await newProducer(client), await newProducer(client)];
  await sent(topic, batch(one, 0, 0, 4));
  await sent(topic, batch(one, 0, 4, 3));
  await sent(topic, batch(other, 0, 2 ** 31 - 2, 3));
  const told = async () => {
    const topics = [
      { name: topic, partitionIndexes: [0, 1, 2] },
      { name: "none", partitionIndexes: [0] },
    ];
    const answer = await client.request(describeProducers, 0, { topics });
    return answer.topics.map(({ partitions }) =>
      partitions.map(({ errorCode, activeProducers }) =>
        errorCode === E.NONE
          ? activeProducers.map(({ producerId, producerEpoch, lastSequence }) => {
              return [producerId, producerEpoch, lastSequence];
            })
          : errorName({ errorCode }),
      ),
    );
  };
  const standings = [
    [one, 0, 6],
    [other, 0, 0],
  ];
  const unknown = "UNKNOWN_TOPIC_OR_PARTITION";
  expect(await told()).toEqual([[standings, [], unknown], [unknown]]);
  await killAndRestart();
  expect(await told()).toEqual([[standings, [], unknown], [unknown]]);
});
