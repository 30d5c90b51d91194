import type { Centrifuge } from "centrifuge";
import { latLngToCell } from "h3-js";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, Following, follow, ping, rawRider, until } from "./rider.ts";

let gateway: Gateway;
const clients: Centrifuge[] = [];

beforeAll(async () => {
  gateway = await startGateway();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});
afterAll(() => gateway.stop());

function rider(): Centrifuge {
  const client = centrifuge(gateway);
  clients.push(client);
  return client;
}

test("a driver: the newest first, then each ping, with the log's offsets", async () => {
  await ping(gateway, { id: "d1", seq: 1 }, { id: "d1", seq: 2 });
  const seen = await until(async () => {
    const d1 = await follow(rider(), "driver:d1");
    return d1.seqs[0] === 2 ? d1 : null;
  });
  await ping(gateway, { id: "d1", seq: 3 }, { id: "d1", seq: 4 });
  await ping(gateway, { id: "d1", seq: 5, speed: 3.5, extra: { a: [1] } });
  await until(() => seen.seqs.includes(5));
  expect(seen.seqs).toEqual([2, 3, 4, 5]);
  expect(seen.offsets).toEqual([...seen.offsets].sort((a, b) => a - b));
  expect(new Set(seen.offsets).size).toBe(4);
  const last = seen.data[3];
  expect(last).toMatchObject({ id: "d1", lat: 12.97, lon: 77.59, speed: 3.5, extra: { a: [1] } });
  expect(last.received).toBeTypeOf("number");
  expect(last).not.toHaveProperty("late");
});

test("a driver never seen is followed from its first ping on", async () => {
  const seen = await follow(rider(), "driver:first");
  expect(seen.told).toEqual([]);
  await ping(gateway, { id: "first", seq: 1 });
  await until(() => seen.seqs.includes(1));
  expect(seen.seqs).toEqual([1]);
});

test("an older fix is told as late to who follows the driver or the trip alone", async () => {
  const now = Date.now();
  const client = rider();
  const driver = await follow(client, "driver:l1");
  const trip = await follow(client, "trip:t1");
  const cell = await follow(client, `cell:${latLngToCell(1, 1, 6)}`);
  const at = { id: "l1", lat: 1, lon: 1, trip: "t1" };
  await ping(gateway, { ...at, seq: 2, ts: now }, { ...at, seq: 1, ts: now - 60_000 });
  await ping(gateway, { ...at, seq: 3, ts: now + 1 });
  await until(() => [driver, trip, cell].every(({ seqs }) => seqs.includes(3)));
  expect(driver.data.map(({ seq, late }) => [seq, late])).toEqual([
    [2, undefined],
    [1, true],
    [3, undefined],
  ]);
  expect(trip.data.map(({ seq, late }) => [seq, late])).toEqual([
    [2, undefined],
    [1, true],
    [3, undefined],
  ]);
  expect(cell.seqs).toEqual([2, 3]);
});

test("a box and a cell: who is there, who comes, who leaves", async () => {
  await ping(gateway, { id: "b1", seq: 1, lat: 10, lon: 10 });
  await ping(gateway, { id: "b2", seq: 1, lat: 20, lon: 20 });
  const client = rider();
  const box = await until(async () => {
    const following = await follow(rider(), "bbox:9.9,9.9,10.1,10.1");
    return following.data.some(({ id }) => id === "b1") ? following : null;
  });
  const cell = await follow(client, `cell:${latLngToCell(10, 10, 7)}`);
  expect(cell.data.map(({ id }) => id)).toEqual(["b1"]);
  await ping(gateway, { id: "b2", seq: 2, lat: 10, lon: 10 });
  await ping(gateway, { id: "b1", seq: 2, lat: 20, lon: 20 });
  await ping(gateway, { id: "b2", seq: 3, lat: 10, lon: 10 });
  await until(() => box.seqs.includes(3) && cell.seqs.includes(3));
  for (const { data } of [box, cell]) {
    expect(data.slice(1).map(({ id, seq, gone }) => [id, seq ?? gone])).toEqual([
      ["b2", 2],
      ["b1", "left"],
      ["b2", 3],
    ]);
  }
});

test("who is not heard of leaves boxes as stale, and is told of again when heard of", async () => {
  const short = await startGateway({ args: ["--stale", "2s"] });
  const client = centrifuge(short);
  clients.push(client);
  const box = await follow(client, "bbox:9,9,11,11");
  const driver = await follow(client, "driver:q1");
  await ping(short, { id: "q1", seq: 1, lat: 10, lon: 10 });
  await until(() => box.data.length === 2);
  await ping(short, { id: "q1", seq: 2, lat: 10, lon: 10 });
  await until(() => box.seqs.includes(2));
  expect(box.data[1]).toEqual({ id: "q1", gone: "stale" });
  expect(driver.seqs).toEqual([1, 2]);
  client.disconnect();
  await short.stop();
});

test("unsubscribed is unsubscribed; a channel may be followed again", async () => {
  const client = rider();
  const first = await follow(client, "driver:u1");
  await ping(gateway, { id: "u1", seq: 1 });
  await until(() => first.seqs.includes(1));
  first.subscription.unsubscribe();
  const other = await follow(client, "driver:u2");
  await ping(gateway, { id: "u1", seq: 2 });
  await ping(gateway, { id: "u2", seq: 2 });
  await until(() => other.seqs.includes(2));
  await ping(gateway, { id: "u1", seq: 3 });
  first.subscription.subscribe();
  await until(() => first.seqs.includes(3));
  // it recovers what it missed
  expect(first.seqs).toEqual([1, 2, 3]);
});

test("no more than one position in the interval, and the newest at its end", async () => {
  const client = rider();
  const paced = await follow(client, "driver:p1", { interval: 300 });
  const all = await follow(rider(), "driver:p1");
  for (let seq = 1; seq <= 50; seq++) await ping(gateway, { id: "p1", seq });
  await until(() => paced.seqs.includes(50) && all.seqs.includes(50));
  expect(all.seqs).toHaveLength(50);
  expect(paced.seqs).toEqual([...paced.seqs].sort((a, b) => a - b));
  const times = paced.data.map(({ received }) => received as number);
  expect(paced.seqs.length).toBeLessThanOrEqual((times.at(-1)! - times[0]) / 300 + 2);
});

test("history: the last publications, either way, and where the stream is", async () => {
  const client = rider();
  const seen = await follow(client, "driver:h1");
  for (let seq = 1; seq <= 70; seq++) await ping(gateway, { id: "h1", seq });
  await until(() => seen.seqs.includes(70));
  const history = async (options: Parameters<typeof seen.subscription.history>[0]) => {
    const { publications, offset } = await seen.subscription.history(options);
    return { seqs: publications.map(({ data }) => data.seq as number), offset, publications };
  };
  const all = await history({ limit: -1 });
  expect(all.seqs).toEqual(Array.from({ length: 64 }, (_, i) => i + 7));
  expect(all.publications.map(({ offset }) => offset)).toEqual(seen.offsets.slice(-64));
  expect((await history({ limit: 3, reverse: true })).seqs).toEqual([70, 69, 68]);
  expect(await history({})).toMatchObject({ seqs: [], offset: seen.offsets.at(-1) });
});

test("several commands in a frame are answered in order, in a frame", async () => {
  const raw = await rawRider(gateway);
  raw.send(
    { id: 2, subscribe: { channel: "driver:f1" } },
    { id: 3, unsubscribe: { channel: "driver:f1" } },
    { id: 4, subscribe: { channel: "driver:f1" } },
    { id: 5, subscribe: { channel: "driver:f1" } },
    { id: 6, ping: {} },
  );
  await raw.reply(6);
  expect(raw.frames).toHaveLength(2);
  expect(raw.lines.slice(1)).toMatchObject([
    { id: 2, subscribe: { recoverable: true, positioned: true } },
    { id: 3, unsubscribe: {} },
    { id: 4, subscribe: { recoverable: true } },
    { id: 5, error: { code: 105, message: "already subscribed" } },
    { id: 6, ping: {} },
  ]);
  raw.socket.close();
  expect(await gateway.metric("milepost_stream_messages_total")).toBeGreaterThan(0);
});

test("what was told is counted, with the time it took", async () => {
  const counted = () => gateway.metric("milepost_stream_messages_total", "websocket");
  const client = rider();
  const seen = new Following(client, "driver:m1");
  client.connect();
  await seen.ready();
  const before = await counted();
  await ping(gateway, { id: "m1", seq: 1 });
  await until(() => seen.seqs.includes(1));
  expect(await counted()).toBe(before + 1);
  const name = "milepost_end_to_end_latency_seconds_count";
  expect(await gateway.metric(name, `kind="receive"`)).toBeGreaterThan(0);
  expect(await gateway.metric(name, `kind="fix"`)).toBeGreaterThan(0);
});
