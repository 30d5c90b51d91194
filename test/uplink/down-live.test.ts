/**
 * Two gateways behind one cluster, which is a third gateway: what riders and devices see of it,
 * while it is there, while it is away, and when it is back.
 */
import mqtt from "mqtt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { centrifuge, follow, ping, type RawRider, rawRider, until } from "../riders/rider.ts";

let cluster: Gateway;
let a: Gateway;
let b: Gateway;

beforeAll(async () => {
  cluster = await startGateway({ args: ["--live", "off"] });
  const uplink = { args: ["--uplink", `127.0.0.1:${cluster.ports.kafka}`] };
  [a, b] = await Promise.all([startGateway(uplink), startGateway(uplink)]);
});
afterAll(async () => {
  await Promise.all([a?.stop(), b?.stop()]);
  await cluster?.stop();
});

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const http = (gateway: Gateway, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${gateway.ports.http}${path}`);

/** Through the cluster: any of its clients may have sent them. */
async function pings(id: string, from: number, to: number): Promise<void> {
  const ts = Date.now();
  const seqs = upTo(to).slice(from - 1);
  for (let i = 0; i < seqs.length; i += 1000) {
    await ping(cluster, ...seqs.slice(i, i + 1000).map((seq) => ({ id, seq, ts: ts + seq })));
  }
}

const knows = (gateway: Gateway, id: string, seq: number): Promise<unknown> =>
  until(async () => {
    const response = await http(gateway, `/v1/drivers/${id}`);
    if (response.status !== 200) return false;
    const { properties } = (await response.json()) as { properties: { seq: number } };
    return properties.seq === seq;
  });

type Position = { epoch: string; offset: number };
type Told = { recovered?: boolean; publications?: { offset: number; data: { seq: number } }[] };

let asked = 100;
async function subscribe(rider: RawRider, id: string, since?: Position): Promise<Position & Told> {
  const recover = since === undefined ? {} : { recover: true, ...since };
  const command = ++asked;
  rider.send({ id: command, subscribe: { channel: `driver:${id}`, ...recover } });
  return (await rider.reply(command)).subscribe;
}

async function command(gateway: Gateway, driver: string, text: string): Promise<number> {
  const url = `http://127.0.0.1:${gateway.ports.admin}/v1/drivers/${driver}/cmd`;
  return (await fetch(url, { method: "POST", body: text })).status;
}

/** A device that listens for its commands. */
async function device(gateway: Gateway, driver: string) {
  const url = `mqtt://127.0.0.1:${gateway.ports.mqtt}`;
  const client = mqtt.connect(url, { clientId: driver, clean: false });
  const heard: string[] = [];
  // what was queued comes at once
  client.on("message", (_topic, payload) => heard.push(String(payload)));
  await new Promise((resolve) => client.once("connect", resolve));
  await client.subscribeAsync(`fleet/${driver}/cmd`, { qos: 1 });
  return { client, heard };
}

test(
  "each position goes to topic latest once, whoever writes it",
  { timeout: 60_000 },
  async () => {
    const owned = (gateway: Gateway) => gateway.metric("milepost_live_latest_partitions");
    await until(async () => (await owned(a)) === 8 && (await owned(b)) === 8);
    const end = () => cluster.metric("milepost_high_watermark", 'topic="latest"');
    const before = await end();
    const written = (gateway: Gateway) => gateway.metric("milepost_live_latest_total");
    const [fromA, fromB] = [await written(a), await written(b)];
    const ids = upTo(200).map((n) => `latest-${n}`);
    await ping(cluster, ...ids.map((id) => ({ id, seq: 1 })));
    await until(async () => (await written(a)) > fromA && (await written(b)) > fromB);
    await until(async () => (await end()) >= before + ids.length);
    expect((await written(a)) + (await written(b)) - fromA - fromB).toBe((await end()) - before);
    expect(await end()).toBe(before + ids.length);
  },
);

test("riders on every gateway see a driver, under one epoch and the same offsets", async () => {
  const riders = [centrifuge(a), centrifuge(b)];
  const [onA, onB] = await Promise.all(riders.map((rider) => follow(rider, "driver:r1")));
  const cells = await follow(riders[0], "bbox:77,12,78,13");
  await pings("r1", 1, 50);
  for (const seen of [onA, onB]) await until(() => seen.seqs.length >= 50);
  expect(onA.seqs).toEqual(upTo(50));
  expect(onB.told).toEqual(onA.told);
  expect(cells.seqs.at(-1)).toBe(50);
  for (const rider of riders) rider.disconnect();
  const raw = await Promise.all([rawRider(a), rawRider(b)]);
  const [first, second] = await Promise.all(raw.map((rider) => subscribe(rider, "r1")));
  expect(second).toEqual(first);
  for (const { socket } of raw) socket.close();
});

test("a rider who goes over to another gateway has missed nothing", async () => {
  await pings("r2", 1, 3);
  await knows(a, "r2", 3);
  const one = await rawRider(a);
  const since = await subscribe(one, "r2");
  one.socket.close();
  await pings("r2", 4, 1500);
  const other = await rawRider(b);
  const { recovered, publications } = await subscribe(other, "r2", since);
  expect(recovered).toBe(true);
  expect(publications?.map(({ data }) => data.seq)).toEqual(upTo(1500).slice(3));
  other.socket.close();
});

test("a track comes from the cluster, of this driver and these times alone", async () => {
  const ts = Date.now() - 60_000;
  const fixes = upTo(500).map((seq) => ({ id: "t1", seq, ts: ts + 10 * seq }));
  const others = upTo(500).map((seq) => ({ id: `other-${seq % 50}`, seq, ts: ts + 10 * seq }));
  await ping(cluster, ...fixes, ...others);
  await knows(b, "t1", 500);
  const span = `from=${ts + 1000}&to=${ts + 4000}`;
  const lines = await (await http(b, `/v1/drivers/t1/track?${span}&format=ndjson`)).text();
  const seqs = lines
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { seq: number }).seq);
  expect(seqs).toEqual(upTo(400).slice(99));
  const track = await (await http(a, `/v1/drivers/t1/track?${span}`)).json();
  expect((track as { properties: { times: number[] } }).properties.times.length).toBe(301);
});

test("what one gateway takes is seen at the other", async () => {
  const riders = [centrifuge(a), centrifuge(b)];
  const [onA, onB] = await Promise.all(riders.map((rider) => follow(rider, "driver:u1")));
  for (const seq of upTo(20)) await ping(seq % 2 === 0 ? a : b, { id: "u1", seq });
  for (const seen of [onA, onB]) await until(() => seen.seqs.length >= 20);
  expect(onA.seqs.toSorted((x, y) => x - y)).toEqual(upTo(20));
  expect(onB.told).toEqual(onA.told);
  for (const rider of riders) rider.disconnect();
});

test("a command reaches its device on whichever gateway that is", async () => {
  const [onA, onB] = await Promise.all([device(a, "van-a"), device(b, "van-b")]);
  for (const driver of ["van-a", "van-b"]) {
    for (const gateway of [a, b, cluster]) expect(await command(gateway, driver, driver)).toBe(202);
  }
  await until(() => onA.heard.length > 2 && onB.heard.length > 2);
  expect([onA.heard, onB.heard]).toEqual([upTo(3).map(() => "van-a"), upTo(3).map(() => "van-b")]);
  await Promise.all([onA.client.endAsync(), onB.client.endAsync()]);
});

test("a device that goes over hears what is new; the rest waits where it was", async () => {
  const first = await device(b, "van-c");
  await first.client.endAsync();
  expect(await command(a, "van-c", "one")).toBe(202);
  await until(async () => (await b.metric("milepost_broker_queued")) > 0);
  const over = await device(a, "van-c");
  expect(await command(b, "van-c", "two")).toBe(202);
  await until(() => over.heard.length > 0);
  await over.client.endAsync();
  const back = await device(b, "van-c");
  await until(() => back.heard.length > 1);
  expect([over.heard, back.heard]).toEqual([["two"], ["one", "two"]]);
  await back.client.endAsync();
});

test("the cluster away: what is known is served, and it is said; then it goes on", async () => {
  await pings("r3", 1, 2);
  await Promise.all([knows(a, "r3", 2), knows(b, "r3", 2)]);
  const one = await rawRider(a);
  const since = await subscribe(one, "r3");
  await pings("r3", 3, 4);
  await knows(a, "r3", 4);
  const client = centrifuge(b);
  const seen = await follow(client, "driver:r3");
  await until(async () => (await b.metric("milepost_live_lag_records")) === 0);
  await cluster.kill();

  // nobody there can say what was missed
  const other = await rawRider(b);
  const [lost, track] = await Promise.all([
    subscribe(other, "r3", { ...since, offset: 0 }),
    http(b, "/v1/drivers/r3/track"),
  ]);
  expect(lost.recovered).not.toBe(true);
  expect(lost.publications?.map(({ data }) => data.seq)).toEqual([4]);
  expect(track.status).toBe(503);
  const silent = /^degraded tracker: the uplink's cluster has not answered/m;
  await until(async () => silent.test(await (await http(b, "/readyz?verbose")).text()));
  expect((await http(b, "/readyz")).status).toBe(200);

  // what a checkpoint has is served at once
  await a.kill();
  await a.start();
  await knows(a, "latest-1", 1);

  await cluster.start();
  await pings("r3", 5, 6);
  await until(() => seen.seqs.includes(6));
  expect(seen.seqs.slice(-2)).toEqual([5, 6]);
  await knows(a, "r3", 6);
  const again = await rawRider(a);
  const { recovered, publications } = await subscribe(again, "r3", since);
  expect(recovered).toBe(true);
  expect(publications?.map(({ data }) => data.seq)).toEqual([3, 4, 5, 6]);
  for (const { socket } of [one, other, again]) socket.close();
  client.disconnect();
}, 60_000);
