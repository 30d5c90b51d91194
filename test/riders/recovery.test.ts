import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Centrifuge } from "centrifuge";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, follow, ping, rawRider, until, type Following } from "./rider.ts";

const run = promisify(execFile);
const launcher = new URL("../../bin/milepost", import.meta.url).pathname;

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

async function pings(id: string, from: number, to: number): Promise<void> {
  const ts = Date.now();
  const seqs = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  for (let i = 0; i < seqs.length; i += 1000) {
    await ping(gateway, ...seqs.slice(i, i + 1000).map((seq) => ({ id, seq, ts: ts + seq })));
  }
}

async function topics(...words: string[]): Promise<void> {
  const server = `127.0.0.1:${gateway.ports.admin}`;
  await run(process.execPath, [launcher, "topics", ...words, "--server", server]);
}

async function back(client: Centrifuge, following: Following): Promise<void> {
  const before = following.recoveries.length;
  client.connect();
  await until(() => following.recoveries.length > before);
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
const wholly = { wasRecovering: true, recovered: true };

test("a rider back after a moment has missed nothing", async () => {
  const client = rider();
  const seen = await follow(client, "driver:r1");
  await pings("r1", 1, 3);
  await until(() => seen.seqs.includes(3));
  client.disconnect();
  await pings("r1", 4, 200);
  await back(client, seen);
  await pings("r1", 201, 202);
  await until(() => seen.seqs.includes(202));
  expect(seen.recoveries.at(-1)).toEqual(wholly);
  expect(seen.seqs).toEqual(upTo(202));
});

test("late fixes come again as late", async () => {
  const client = rider();
  const seen = await follow(client, "driver:r2");
  const ts = Date.now();
  await ping(gateway, { id: "r2", seq: 1, ts });
  await until(() => seen.seqs.includes(1));
  client.disconnect();
  await ping(gateway, { id: "r2", seq: 2, ts: ts + 1 }, { id: "r2", seq: 3, ts: ts - 9000 });
  await back(client, seen);
  expect(seen.data.map(({ seq, late }) => [seq, late])).toEqual([
    [1, undefined],
    [2, undefined],
    [3, true],
  ]);
  // the newest it was told is behind the newest fix: nothing comes twice
  client.disconnect();
  await back(client, seen);
  await ping(gateway, { id: "r2", seq: 4, ts: ts + 2 });
  await until(() => seen.seqs.includes(4));
  expect(seen.seqs).toEqual([1, 2, 3, 4]);
});

test("in mode cache only the newest comes, once", async () => {
  const client = rider();
  const seen = await follow(client, "driver:r3", { recovery: "cache" });
  await pings("r3", 1, 2);
  await until(() => seen.seqs.includes(2));
  client.disconnect();
  await pings("r3", 3, 9);
  await back(client, seen);
  expect(seen.seqs).toEqual([1, 2, 9]);
  expect(seen.recoveries.at(-1)).toEqual(wholly);
  client.disconnect();
  await back(client, seen);
  await pings("r3", 10, 10);
  await until(() => seen.seqs.includes(10));
  expect(seen.seqs).toEqual([1, 2, 9, 10]);
  expect(seen.recoveries.at(-1)).toEqual(wholly);
});

test("in mode cache, too, an offset ahead is waited for, and then left at that", async () => {
  await pings("r3", 11, 11);
  const raw = await rawRider(gateway);
  raw.send({ id: 2, subscribe: { channel: "driver:r3" } });
  const { epoch, offset } = (await raw.reply(2)).subscribe;
  const ahead = { recover: true, epoch, offset: offset + 1e9, data: { recovery: "cache" } };
  raw.send({ id: 3, unsubscribe: { channel: "driver:r3" } });
  raw.send({ id: 4, subscribe: { channel: "driver:r3", ...ahead } }, { id: 5, ping: {} });
  await raw.reply(5);
  expect(raw.lines.some(({ id }) => id === 4)).toBe(false);
  const { subscribe: reply } = await raw.reply(4);
  expect(reply).toMatchObject({ recovered: true, epoch, offset, publications: [{ offset }] });
  await pings("r3", 12, 12);
  await until(() => raw.lines.some(({ push }) => push?.pub.data.seq === 12));
  raw.socket.close();
});

test("more than is given again: the newest, and it is said", async () => {
  const client = rider();
  const seen = await follow(client, "driver:r4");
  await pings("r4", 1, 1);
  await until(() => seen.seqs.includes(1));
  client.disconnect();
  const last = limits.recoveredMax + 2;
  await pings("r4", 2, last);
  const other = await follow(rider(), "driver:r4");
  await until(() => other.seqs.includes(last));
  await back(client, seen);
  expect(seen.recoveries.at(-1)).toEqual({ wasRecovering: true, recovered: false });
  expect(seen.seqs).toEqual([1, last]);
  await pings("r4", last + 1, last + 1);
  await until(() => seen.seqs.includes(last + 1));
  expect(seen.seqs).toEqual([1, last, last + 1]);
});

test("of another epoch: the newest, and it is said", async () => {
  await pings("r5", 1, 5);
  const raw = await rawRider(gateway);
  const subscribe = { channel: "driver:r5", recover: true, epoch: "0.else", offset: 2 };
  raw.send({ id: 2, subscribe });
  const { subscribe: reply } = await raw.reply(2);
  expect(reply).toMatchObject({ recoverable: true, was_recovering: true });
  expect(reply).not.toHaveProperty("recovered");
  expect(reply.epoch).not.toBe("0.else");
  const [newest, ...more] = reply.publications;
  expect(newest).toMatchObject({ data: { seq: 5 }, offset: reply.offset });
  expect(more).toEqual([]);
  raw.socket.close();
});

test("an offset ahead of this node is waited for, and then nothing comes twice", async () => {
  const seen = await follow(rider(), "driver:r6");
  await pings("r6", 1, 2);
  await until(() => seen.seqs.includes(2));
  const raw = await rawRider(gateway);
  raw.send({ id: 2, subscribe: { channel: "driver:r6" } });
  const { epoch, offset } = (await raw.reply(2)).subscribe;
  raw.send(
    { id: 3, unsubscribe: { channel: "driver:r6" } },
    { id: 4, subscribe: { channel: "driver:r6", recover: true, epoch, offset: offset + 2 } },
    { id: 5, ping: {} },
  );
  await raw.reply(5);
  expect(raw.lines.some(({ id }) => id === 4)).toBe(false);
  await pings("r6", 3, 3);
  await pings("r6", 4, 5);
  const { subscribe: reply } = await raw.reply(4);
  expect(reply).toMatchObject({ recovered: true, was_recovering: true });
  const pushed = () => raw.lines.flatMap(({ push }) => (push ? [push.pub.data.seq] : []));
  const given = (reply.publications ?? []).map(({ data }: { data: { seq: number } }) => data.seq);
  await until(() => [...given, ...pushed()].includes(5));
  expect([...given, ...pushed()]).toEqual([5]);
  raw.socket.close();
});

test("an offset that never comes: the newest, and it is said", async () => {
  await pings("r7", 1, 1);
  const raw = await rawRider(gateway);
  raw.send({ id: 2, subscribe: { channel: "driver:r7" } });
  const { epoch, offset } = (await raw.reply(2)).subscribe;
  raw.send({ id: 3, unsubscribe: { channel: "driver:r7" } });
  const subscribe = { channel: "driver:r7", recover: true, epoch, offset: offset + 1e9 };
  raw.send({ id: 4, subscribe });
  const { subscribe: reply } = await raw.reply(4);
  expect(reply).toMatchObject({ was_recovering: true, epoch, offset });
  expect(reply).not.toHaveProperty("recovered");
  expect(reply.publications).toHaveLength(1);
  raw.socket.close();
});

test("left while it recovers: both commands are answered, and nothing is told", async () => {
  await pings("r8", 1, 1);
  const raw = await rawRider(gateway);
  raw.send({ id: 2, subscribe: { channel: "driver:r8" } });
  const { epoch, offset } = (await raw.reply(2)).subscribe;
  const ahead = { channel: "driver:r8", recover: true, epoch, offset: offset + 1e9 };
  raw.send(
    { id: 3, unsubscribe: { channel: "driver:r8" } },
    { id: 4, subscribe: ahead },
    { id: 5, subscribe: ahead },
    { id: 6, unsubscribe: { channel: "driver:r8" } },
    { id: 7, subscribe: { channel: "driver:r8" } },
  );
  const { subscribe: reply } = await raw.reply(7);
  expect(reply).toMatchObject({ epoch, offset });
  expect(raw.lines.slice(2).map(({ id, error }) => [id, error?.code])).toEqual([
    [3, undefined],
    [5, 105],
    [4, 100],
    [6, undefined],
    [7, undefined],
  ]);
  await pings("r8", 2, 2);
  await until(() => raw.lines.some(({ push }) => push?.pub.data.seq === 2));
  raw.socket.close();
});

test("who begins to recover and leaves, over and over, has to wait for what it began", async () => {
  const [first, greedy] = [await rawRider(gateway), await rawRider(gateway)];
  first.send({ id: 2, subscribe: { channel: "driver:r11" } });
  const { epoch, offset } = (await first.reply(2)).subscribe;
  const channel = "driver:r11";
  const ahead = { channel, recover: true, epoch, offset: (offset ?? 0) + 1e9 };
  first.send({ id: 3, unsubscribe: { channel: "driver:r11" } }, { id: 4, subscribe: ahead });
  first.send({ id: 5, ping: {} });
  await first.reply(5);
  const pairs = Array.from({ length: limits.riderReadsMax }, (_, i) => [
    { id: 10 + 2 * i, subscribe: ahead },
    { id: 11 + 2 * i, unsubscribe: { channel: "driver:r11" } },
  ]);
  greedy.send(...pairs.flat(), { id: 99, ping: {} });
  await greedy.reply(99);
  // that one had begun before
  expect(first.lines.some(({ id }) => id === 4)).toBe(true);
  first.socket.close();
  greedy.socket.close();
});

test.each([
  ["a restart", "SIGTERM"],
  ["kill -9", "SIGKILL"],
] as const)("after %s nothing is missing, in either mode", async (_, signal) => {
  const id = `after-${signal}`;
  const client = rider();
  const stream = await follow(client, `driver:${id}`);
  const cache = rider();
  const newest = await follow(cache, `driver:${id}`, { recovery: "cache" });
  await pings(id, 1, 3);
  await until(() => stream.seqs.includes(3) && newest.seqs.includes(3));
  client.disconnect();
  cache.disconnect();
  await pings(id, 4, 500);
  await gateway.end(signal);
  await gateway.start();
  await pings(id, 501, 600);
  await back(client, stream);
  await back(cache, newest);
  await pings(id, 601, 601);
  await until(() => stream.seqs.includes(601) && newest.seqs.includes(601));
  expect(stream.recoveries.at(-1)).toEqual(wholly);
  expect(stream.seqs).toEqual(upTo(601));
  expect(stream.offsets).toEqual([...new Set(stream.offsets)].sort((a, b) => a - b));
  expect(newest.recoveries.at(-1)).toEqual(wholly);
  expect(newest.seqs).toEqual([...newest.seqs].sort((a, b) => a - b));
  expect(new Set(newest.seqs).size).toBe(newest.seqs.length);
});

test("many riders back at once after a restart have missed nothing", async () => {
  const drivers = Array.from({ length: 40 }, (_, i) => `many${i}`);
  const client = rider();
  const all = await Promise.all(drivers.map((id) => follow(client, `driver:${id}`)));
  const each = (seq: number) => ping(gateway, ...drivers.map((id) => ({ id, seq })));
  await each(1);
  await until(() => all.every(({ seqs }) => seqs.includes(1)));
  client.disconnect();
  await each(2);
  await gateway.end("SIGTERM");
  await gateway.start();
  await Promise.all(all.map((following) => back(client, following)));
  await each(3);
  await until(() => all.every(({ seqs }) => seqs.includes(3)));
  for (const { seqs, recoveries } of all) {
    expect(recoveries.at(-1)).toEqual(wholly);
    expect(seqs).toEqual([1, 2, 3]);
  }
});

test("what retention took cannot be had: the newest, and it is said", async () => {
  const client = rider();
  const seen = await follow(client, "driver:r9");
  await pings("r9", 1, 1);
  await until(() => seen.seqs.includes(1));
  client.disconnect();
  await pings("r9", 2, 4);
  const settings = ["segment.bytes=65536", "retention.bytes=65536"].flatMap((s) => ["--config", s]);
  await topics("alter", "positions", ...settings);
  const ballast = "x".repeat(4000);
  const start = () => gateway.metric("milepost_log_start_offset", `topic="positions"`);
  for (const before = await start(); (await start()) <= before + 100;) {
    await ping(gateway, ...Array.from({ length: 60 }, () => ({ id: "r9", seq: 5, ballast })));
  }
  // nothing of it is in memory either
  await gateway.end("SIGTERM");
  await gateway.start();
  await back(client, seen);
  expect(seen.recoveries.at(-1)).toEqual({ wasRecovering: true, recovered: false });
  expect(seen.seqs).toEqual([1, 5]);
});

test("drivers whose partition is another one now are followed on", async () => {
  const drivers = Array.from({ length: 8 }, (_, i) => `moved${i}`);
  const client = rider();
  const all = await Promise.all(drivers.map((id) => follow(client, `driver:${id}`)));
  const each = (seq: number) => ping(gateway, ...drivers.map((id) => ({ id, seq })));
  await each(1);
  await until(() => all.every(({ seqs }) => seqs.includes(1)));
  await topics("alter", "positions", "--partitions", "32");
  await each(2);
  await each(3);
  await until(() => all.every(({ seqs }) => seqs.includes(3)));
  await each(4);
  await until(() => all.every(({ seqs }) => seqs.at(-1) === 4));
  const again = all.filter(({ recoveries }) => recoveries.length > 1);
  expect(again.length).toBeGreaterThan(0);
  for (const { seqs, recoveries } of all) {
    expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
    if (recoveries.length === 1) expect(seqs).toEqual([1, 2, 3, 4]);
    else expect(recoveries.at(-1)).toEqual({ wasRecovering: true, recovered: false });
  }
});
