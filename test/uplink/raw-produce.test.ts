import { afterAll, beforeAll, expect, test } from "vitest";
import { RawProduce } from "../../src/uplink/raw-produce.ts";
import { E } from "../../src/wire/errors.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { idempotent, recordsAt } from "../kafka/batches.ts";
import { createTopic, fetchBatches, newProducer } from "../kafka/producing.ts";
import { WireClient } from "../kafka/wire-client.ts";

let gateway: Gateway;
let client: WireClient;
let produce: RawProduce;

beforeAll(async () => {
  gateway = await startGateway();
  client = await WireClient.open(gateway.ports.kafka);
  produce = new RawProduce({ clientId: "test", bootstrapBrokers: [], requestTimeout: 5000 });
});

afterAll(async () => {
  client.close();
  await produce.close();
  await gateway.stop();
});

test("several requests in flight keep their order; each partition has its own answer", async () => {
  await createTopic(client, "a", 2);
  await createTopic(client, "b", 1);
  const broker = { host: "127.0.0.1", port: gateway.ports.kafka };
  const producer = await newProducer(client);
  const batch = (sequence: number) =>
    idempotent(recordsAt(Date.now(), 3), producer, 0, sequence * 3);
  const places = [
    { topic: "a", partition: 0 },
    { topic: "b", partition: 0 },
    { topic: "a", partition: 1 },
  ];
  const request = (i: number) => places.map((place) => ({ ...place, batch: batch(i) }));
  await produce.produce(broker, request(0), 1000);
  const answers = await Promise.all(
    [1, 2, 3, 4].map((i) => produce.produce(broker, request(i), 1000)),
  );
  for (const [i, answer] of answers.entries()) {
    expect(answer.map(({ baseOffset, errorCode }) => [baseOffset, errorCode])).toEqual(
      places.map(() => [(i + 1) * 3, E.NONE]),
    );
    const named = answer.map(({ topic, partition }) => ({ topic, partition }));
    expect(new Set(named)).toEqual(new Set(places));
  }
  expect(await fetchBatches(client, "a", 1)).toHaveLength(5);

  const again = await produce.produce(broker, request(4), 1000);
  expect(again.map(({ baseOffset }) => baseOffset)).toEqual([12, 12, 12]);
  const [later] = await produce.produce(broker, request(9).slice(0, 1), 1000);
  expect(later.errorCode).toBe(E.OUT_OF_ORDER_SEQUENCE_NUMBER);
});

test("a broker that is not there is said", async () => {
  const nobody = { host: "127.0.0.1", port: 1 };
  await expect(produce.produce(nobody, [], 1000)).rejects.toThrow("Connection to 127.0.0.1:1");
});
