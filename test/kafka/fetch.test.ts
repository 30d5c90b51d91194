import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { baseOffset, batchBytes, lastOffsetDelta } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import type { RequestOf } from "../../src/wire/api.ts";
import { fetch as fetchApi } from "../../src/wire/apis/fetch.ts";
import { E } from "../../src/wire/errors.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { appendOne, batchOf, openStore, tickMany } from "../log/fixture.ts";
import { WireClient } from "./wire-client.ts";

type Request = RequestOf<typeof fetchApi>;
type Wanted = { offset: number; partition?: number; maxBytes?: number; epoch?: number };

const MIB = 1024 * 1024;
let dir: string;
let gateway: Gateway;
let client: WireClient;

/** `trips`: partition 0 has ten batches of ten records over many slices, partition 1 has one. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "milepost-fetch-"));
  const store = openStore(dir, Date.now());
  store.createTopic("trips", 3, { "segment.bytes": "65536" });
  for (let b = 0; b < 10; b++) {
    const records = Array.from({ length: 10 }, (_, i) => ({
      key: `k${i}`,
      value: `${b * 10 + i}`.padEnd(3000, "."),
    }));
    appendOne(store, "trips", 0, batchOf(records), Date.now());
    tickMany(store, Date.now());
  }
  appendOne(store, "trips", 1, batchOf([{ key: "k", value: "x".repeat(500_000) }]), Date.now());
  store.createTopic("empty", 1, {});
  store.createTopic("large", 4, { "max.message.bytes": `${8 * MIB}` });
  for (let p = 0; p < 4; p++) {
    appendOne(
      store,
      "large",
      p,
      batchOf([{ key: "k", value: `${p}`.repeat(4 * MIB) }]),
      Date.now(),
    );
  }
  store.close();
  gateway = await startGateway({ dataDir: dir });
  client = await WireClient.open(gateway.ports.kafka);
});

afterAll(async () => {
  client.close();
  await gateway.stop();
  rmSync(dir, { recursive: true, force: true });
});

function ask(topic: string, wanted: Wanted[], more: Partial<Request> = {}): Request {
  return {
    clusterId: null,
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 10 * MIB,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    topics: [
      {
        topic,
        partitions: wanted.map(({ offset, partition, maxBytes, epoch }) => ({
          partition: partition ?? 0,
          currentLeaderEpoch: epoch ?? -1,
          fetchOffset: offset,
          lastFetchedEpoch: -1,
          logStartOffset: -1,
          partitionMaxBytes: maxBytes ?? MIB,
        })),
      },
    ],
    forgottenTopicsData: [],
    rackId: "",
    ...more,
  };
}

const fetched = async (request: Request, version = 11) => {
  const response = await client.request(fetchApi, version, request);
  return response.responses.flatMap(({ partitions }) => partitions);
};

/** [first, last] offset of each batch. */
function ranges(records: Uint8Array | null): [number, number][] {
  const all: [number, number][] = [];
  const bytes = records ?? new Uint8Array(0);
  for (let at = 0; at < bytes.length; at += batchBytes(bytes, at)) {
    all.push([baseOffset(bytes, at), baseOffset(bytes, at) + lastOffsetDelta(bytes, at)]);
  }
  return all;
}

describe("what is given", () => {
  test.for([4, 5, 6, 7, 8, 9, 10, 11, 12])("version %i", async (version) => {
    const [one] = await fetched(ask("trips", [{ offset: 0 }]), version);
    expect(one).toMatchObject({ partitionIndex: 0, errorCode: 0, highWatermark: 100 });
    expect(one.lastStableOffset).toBe(100);
    expect(ranges(one.records)[0]).toEqual([0, 9]);
    const [record] = recordsOf(one.records as Uint8Array);
    expect(Buffer.from(record.value as Uint8Array).toString()).toMatch(/^0\.+$/);
  });

  test("every offset is reached through whole batches, across slices", async () => {
    for (const from of [0, 7, 10, 55, 99]) {
      const seen: number[] = [];
      for (let at = from; at < 100;) {
        const [one] = await fetched(ask("trips", [{ offset: at }]));
        const got = ranges(one.records);
        expect(got[0][0]).toBeLessThanOrEqual(at);
        expect(got[0][1]).toBeGreaterThanOrEqual(at);
        for (const [first, last] of got) for (let o = first; o <= last; o++) seen.push(o);
        at = (got.at(-1) as [number, number])[1] + 1;
      }
      expect(seen.filter((o) => o >= from)).toEqual(
        Array.from({ length: 100 - from }, (_, i) => from + i),
      );
    }
  });

  test("a batch larger than every limit comes whole, the other partitions wait", async () => {
    const wanted = [
      { partition: 2, offset: 0 },
      { partition: 1, offset: 0, maxBytes: 1 },
      { partition: 0, offset: 0 },
    ];
    const parts = await fetched(ask("trips", wanted, { maxBytes: 1 }));
    expect(parts.map((p) => ranges(p.records))).toEqual([[], [[0, 0]], []]);
    const [large] = await fetched(ask("trips", [wanted[1]], { maxBytes: 0 }));
    expect(large.records?.length).toBeGreaterThan(500_000);
  });
});

describe("errors answer at once and beside the others", () => {
  test("offsets beyond the ends, partitions and topics that are not there", async () => {
    const wanted = [
      { offset: 2, partition: 1 },
      { offset: -1, partition: 2 },
      { offset: 0, partition: 9 },
      { offset: 0, partition: -1 },
      { offset: 50 },
    ];
    const parts = await fetched(ask("trips", wanted, { maxWaitMs: 30_000, minBytes: 50 * MIB }));
    const missing = E.UNKNOWN_TOPIC_OR_PARTITION;
    const beyond = E.OFFSET_OUT_OF_RANGE;
    expect(parts.map((p) => p.errorCode)).toEqual([beyond, beyond, missing, missing, 0]);
    expect(parts[0]).toMatchObject({ highWatermark: 1, logStartOffset: 0 });
    expect(ranges(parts[4].records)[0]).toEqual([50, 59]);
    const request = ask("none", [{ offset: 0 }], { maxWaitMs: 30_000 });
    expect((await fetched(request))[0].errorCode).toBe(missing);
  });

  test("a leader epoch that is over, and one that is to come", async () => {
    const wanted = [
      { offset: 0, epoch: 0 },
      { offset: 0, partition: 1, epoch: 1000 },
    ];
    const codes = (await fetched(ask("trips", wanted))).map((p) => p.errorCode);
    expect(codes).toEqual([E.FENCED_LEADER_EPOCH, E.UNKNOWN_LEADER_EPOCH]);
  });

  test("a partition that is asked for twice is answered once, as asked for last", async () => {
    const [once, ...more] = await fetched(ask("trips", [{ offset: 0 }, { offset: 50 }]));
    expect(ranges(once.records)[0]).toEqual([50, 59]);
    expect(more).toEqual([]);
  });

  test("answers to many at once are each their own, also to those who read late", async () => {
    const { kafka } = gateway.ports;
    const clients = await Promise.all([1, 2, 3, 4].map(() => WireClient.open(kafka)));
    const [late, ...others] = clients;
    late.socket.pause();
    for (const one of clients) {
      for (const partition of [0, 1, 2, 3]) {
        one.send(fetchApi, 11, ask("large", [{ offset: 0, partition }]));
      }
    }
    const read = async (one: WireClient): Promise<void> => {
      for (const partition of [0, 1, 2, 3]) {
        const answer = await one.answer(fetchApi, 11);
        const [{ records }] = answer?.responses[0].partitions ?? [];
        const [{ value }] = [...recordsOf(records as Uint8Array)];
        const expected = Buffer.alloc(4 * MIB, `${partition}`);
        expect(value !== null && expected.equals(value)).toBe(true);
      }
    };
    await Promise.all(others.map(read));
    late.socket.resume();
    await read(late);
    for (const one of clients) one.close();
  });

  test("a session that nobody keeps; without one the answer says id 0", async () => {
    const unknown = ask("trips", [], { sessionId: 77, sessionEpoch: 3 });
    expect((await client.request(fetchApi, 11, unknown)).errorCode).toBe(70);
    const opening = ask("trips", [{ offset: 0 }], { sessionEpoch: 0 });
    const answer = await client.request(fetchApi, 11, opening);
    expect([answer.errorCode, answer.sessionId]).toEqual([0, 0]);
  });
});

describe("waiting", () => {
  const positions = (offsets: number[], more: Partial<Request>): Request =>
    ask(
      "positions",
      offsets.map((offset, partition) => ({ partition, offset })),
      more,
    );
  const zeroes = Array.from({ length: 16 }, () => 0);

  async function publish(driver: string): Promise<void> {
    const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest?driver=${driver}`;
    const body = JSON.stringify({ ts: Date.now(), lat: 12.9, lon: 77.6 });
    expect((await globalThis.fetch(url, { method: "POST", body })).status).toBe(200);
  }

  test("nothing comes: an empty answer when the wait is over", async () => {
    const [one] = await fetched(ask("empty", [{ offset: 0 }], { maxWaitMs: 50 }));
    expect(one).toMatchObject({ errorCode: 0, highWatermark: 0 });
    expect(one.records?.length).toBe(0);
  });

  test("an acknowledged record wakes who waits, on whichever partition it comes", async () => {
    const ends = [...zeroes];
    for (let i = 0; i < 20; i++) {
      client.send(fetchApi, 11, positions(ends, { maxWaitMs: 25_000 }));
      // sometimes the ping is first, sometimes the fetch
      if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      await publish(`w${i}`);
      const answer = await client.answer(fetchApi, 11);
      const parts = answer?.responses[0].partitions ?? [];
      const got = parts.flatMap((p) =>
        ranges(p.records).map(([, last]) => [p.partitionIndex, last]),
      );
      expect(got).toHaveLength(1);
      ends[got[0][0]] = got[0][1] + 1;
    }
  });

  test("it waits for min bytes, of all partitions together", async () => {
    const ends = (await fetched(positions(zeroes, {}))).map((p) => p.highWatermark);
    client.send(fetchApi, 11, positions(ends, { maxWaitMs: 25_000, minBytes: 3000 }));
    for (let i = 0; i < 40; i++) await publish(`m${i}`);
    const answer = await client.answer(fetchApi, 11);
    const bytes = answer?.responses[0].partitions.reduce((n, p) => n + (p.records?.length ?? 0), 0);
    expect(bytes).toBeGreaterThanOrEqual(3000);
  });

  test("no wait for what is there already, in the next slice or beyond a limit", async () => {
    const patient = { maxWaitMs: 100_000, minBytes: 50 * MIB };
    const [one] = await fetched(ask("trips", [{ offset: 0 }], patient));
    expect(ranges(one.records)[0]).toEqual([0, 9]);
    const limited = [{ offset: 0 }, { partition: 1, offset: 0 }];
    const parts = await fetched(ask("trips", limited, { ...patient, maxBytes: 1 }));
    expect(parts.map((p) => ranges(p.records))).toEqual([[[0, 9]], []]);
  });

  test("a topic that is deleted under a waiting fetch answers", async () => {
    const admin = `http://127.0.0.1:${gateway.ports.admin}/v1/admin/topics`;
    const topic = { topic: "brief", partitions: 1, config: {} };
    const made = await globalThis.fetch(admin, { method: "POST", body: JSON.stringify(topic) });
    expect(made.status).toBe(201);
    client.send(fetchApi, 11, ask("brief", [{ offset: 0 }], { maxWaitMs: 25_000 }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await globalThis.fetch(`${admin}/brief?confirm=brief`, { method: "DELETE" });
    const answer = await client.answer(fetchApi, 11);
    const [one] = answer?.responses[0].partitions ?? [];
    expect(one.errorCode).toBe(E.UNKNOWN_TOPIC_OR_PARTITION);
  });
});
