import { expect, test } from "vitest";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { fetch as fetchApi } from "../../src/wire/apis/fetch.ts";
import { produce } from "../../src/wire/apis/produce.ts";
import { E } from "../../src/wire/errors.ts";
import { startGateway } from "../harness/gateway.ts";
import { batchOf } from "../log/batches.ts";
import { GroupClient } from "./group-client.ts";
import { WireClient } from "./wire-client.ts";

const MINUTES = 600_000;

/** Waits for far longer than a drain may take: it is answered only if it is cut short. */
const waitingFetch = {
  clusterId: null,
  replicaId: -1,
  maxWaitMs: MINUTES,
  minBytes: 1,
  maxBytes: 1000,
  isolationLevel: 0,
  sessionId: 0,
  sessionEpoch: -1,
  topics: [
    {
      topic: "t",
      partitions: [
        {
          partition: 1,
          currentLeaderEpoch: -1,
          fetchOffset: 0,
          lastFetchedEpoch: -1,
          logStartOffset: -1,
          partitionMaxBytes: 1000,
        },
      ],
    },
  ],
  forgottenTopicsData: [],
  rackId: "",
};

const produceOf = (value: string) => ({
  transactionalId: null,
  acks: -1,
  timeoutMs: 1000,
  topicData: [
    { name: "t", partitionData: [{ index: 0, records: batchOf([{ key: "k", value }]) }] },
  ],
});

test("SIGTERM answers what has begun, and waits for nobody who waits", async () => {
  const gateway = await startGateway();
  const port = gateway.ports.kafka;
  const client = await WireClient.open(port);
  const topic = { name: "t", numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] };
  await client.request(createTopics, 5, { topics: [topic], timeoutMs: 1000, validateOnly: false });

  const fetching = await WireClient.open(port);
  fetching.send(fetchApi, 12, waitingFetch);
  // a member that waits for the other to join, and the other that does not
  const stays = await GroupClient.open(port, "g");
  await stays.join();
  const joins = await GroupClient.open(port, "g");
  const joining = joins.joinOnce(3, { rebalanceTimeoutMs: MINUTES }).catch(() => null);
  const idle = await WireClient.open(port);
  const silent = await WireClient.open(port);
  silent.socket.pause();
  silent.send(fetchApi, 12, waitingFetch);

  // a producer that goes on until it is cut off
  const producer = await WireClient.open(port);
  let sent = 0;
  let acknowledged = 0;
  const producing = (async () => {
    for (;;) {
      for (let i = 0; i < 10; i++) producer.send(produce, 9, produceOf(`${sent++}`));
      for (let i = 0; i < 10; i++) {
        const answer = await producer.answer(produce, 9);
        if (answer === null) return;
        const [{ errorCode }] = answer.responses[0].partitionResponses;
        expect(errorCode).toBe(E.NONE);
        acknowledged++;
      }
    }
  })();
  while (acknowledged < 20) await new Promise((resolve) => setTimeout(resolve, 5));

  const ended = gateway.end("SIGTERM");
  const answer = await fetching.answer(fetchApi, 12);
  expect(answer?.responses[0].partitions[0].errorCode).toBe(E.NONE);
  await joining;
  await producing;
  expect(await idle.nextFrame()).toBe(null);
  expect(await ended).toBe(0);
  expect(gateway.stderr()).not.toMatch(/not stopped in time|failed/);
  for (const c of [client, silent, stays, joins]) c.close();

  const again = await startGateway({ dataDir: gateway.dataDir });
  const reader = await WireClient.open(again.ports.kafka);
  const [{ partitions }] = waitingFetch.topics;
  const all = { ...waitingFetch, maxWaitMs: 0, maxBytes: 1e8 };
  all.topics = [
    { topic: "t", partitions: [{ ...partitions[0], partition: 0, fetchOffset: acknowledged - 1 }] },
  ];
  const { responses } = await reader.request(fetchApi, 12, all);
  expect(responses[0].partitions[0].errorCode).toBe(E.NONE);
  expect(responses[0].partitions[0].highWatermark).toBeGreaterThanOrEqual(acknowledged);
  reader.close();
  await again.stop();
}, 60_000);
