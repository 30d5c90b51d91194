/** What tests of producing ask of a gateway. */
import { expect } from "vitest";
import { baseOffset, batchBytes, lastOffsetDelta } from "../../src/batch/header.ts";
import { recordsOf, type BatchRecord } from "../../src/batch/records.ts";
import type { RequestOf, ResponseOf } from "../../src/wire/api.ts";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { fetch } from "../../src/wire/apis/fetch.ts";
import { initProducerId } from "../../src/wire/apis/init-producer-id.ts";
import { produce } from "../../src/wire/apis/produce.ts";
import { E, errorNames } from "../../src/wire/errors.ts";
import type { WireClient } from "./wire-client.ts";

export type Sent = { topic: string; partition: number; bytes: Uint8Array | null };
export type Produced = ResponseOf<
  typeof produce
>["responses"][number]["partitionResponses"][number] & { topic: string };

export async function createTopic(
  client: WireClient,
  name: string,
  numPartitions: number,
  config: Record<string, string> = {},
): Promise<void> {
  const configs = Object.entries(config).map(([key, value]) => ({ name: key, value }));
  const topic = { name, numPartitions, replicationFactor: 1, assignments: [], configs };
  const request = { topics: [topic], timeoutMs: 10_000, validateOnly: false };
  const { topics } = await client.request(createTopics, 5, request);
  expect(topics).toMatchObject([{ name, errorCode: E.NONE }]);
}

/** A topic that comes again after another one comes again in the request. */
export function produceRequest(sent: Sent[], acks = -1): RequestOf<typeof produce> {
  const topicData: RequestOf<typeof produce>["topicData"] = [];
  for (const { topic, partition, bytes } of sent) {
    if (topicData.at(-1)?.name !== topic) topicData.push({ name: topic, partitionData: [] });
    topicData.at(-1)?.partitionData.push({ index: partition, records: bytes });
  }
  return { transactionalId: null, acks, timeoutMs: 10_000, topicData };
}

export const answersOf = ({ responses }: ResponseOf<typeof produce>): Produced[] =>
  responses.flatMap(({ name, partitionResponses }) =>
    partitionResponses.map((answer) => ({ ...answer, topic: name })),
  );

export async function send(
  client: WireClient,
  sent: Sent[],
  { acks = -1, version = 9 } = {},
): Promise<Produced[]> {
  return answersOf(await client.request(produce, version, produceRequest(sent, acks)));
}

/** Produces one batch; its answer. */
export async function sendOne(
  client: WireClient,
  topic: string,
  bytes: Uint8Array | null,
  { partition = 0, acks = -1, version = 9 } = {},
): Promise<Produced> {
  const [answer] = await send(client, [{ topic, partition, bytes }], { acks, version });
  return answer;
}

export const errorName = ({ errorCode }: { errorCode: number }): string =>
  errorNames.get(errorCode) as string;

export async function newProducer(client: WireClient): Promise<number> {
  const request = { transactionalId: null, transactionTimeoutMs: 1 };
  const unknown = { producerId: -1, producerEpoch: -1 };
  const answer = await client.request(initProducerId, 4, { ...request, ...unknown });
  expect(answer).toMatchObject({ errorCode: E.NONE, producerEpoch: 0 });
  return answer.producerId;
}

async function fetchSome(
  client: WireClient,
  topic: string,
  partition: number,
  fetchOffset: number,
): Promise<Uint8Array> {
  const wanted = { partition, currentLeaderEpoch: -1, fetchOffset, lastFetchedEpoch: -1 };
  const limit = { logStartOffset: -1, partitionMaxBytes: 1 << 26 };
  const { responses } = await client.request(fetch, 11, {
    clusterId: null,
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: 1 << 26,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [{ topic, partitions: [{ ...wanted, ...limit }] }],
    forgottenTopicsData: [],
    rackId: "",
  });
  const { errorCode, records } = responses[0].partitions[0];
  expect(errorCode).toBe(E.NONE);
  return records ?? new Uint8Array(0);
}

/** The batches of a partition, as they lie in the log, to its end. */
export async function fetchBatches(
  client: WireClient,
  topic: string,
  partition = 0,
  from = 0,
): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = [];
  let next = from;
  for (;;) {
    const bytes = await fetchSome(client, topic, partition, next);
    if (bytes.length === 0) return batches;
    for (let at = 0; at < bytes.length; at += batchBytes(bytes, at)) {
      const batch = bytes.subarray(at, at + batchBytes(bytes, at));
      batches.push(batch);
      next = baseOffset(batch) + lastOffsetDelta(batch) + 1;
    }
  }
}

export async function fetchRecords(
  client: WireClient,
  topic: string,
  partition = 0,
  from = 0,
): Promise<BatchRecord[]> {
  const batches = await fetchBatches(client, topic, partition, from);
  expect(batches.map((b) => baseOffset(b))).toEqual(
    batches.map((b) => baseOffset(b)).toSorted((a, b) => a - b),
  );
  return batches.flatMap((batch) => [...recordsOf(batch)]);
}
