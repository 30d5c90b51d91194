/** Riders that do not read. Positions carry ballast, so that the kernel's buffers fill. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, follow, ping, rawRider, until, type Fix, type RawRider } from "./rider.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());

const ballast = "x".repeat(7000);

async function heavy(fixes: Fix[]): Promise<void> {
  for (let i = 0; i < fixes.length; i += 30) {
    await ping(gateway, ...fixes.slice(i, i + 30).map((fix) => ({ ...fix, ballast })));
  }
}

const conflated = (): Promise<number> => gateway.metric("milepost_stream_conflated_total");
const clients = (): Promise<number> => gateway.metric("milepost_stream_clients");

/** Pings of a driver until some were left out for the slow. */
async function untilConflated(id: string): Promise<number> {
  const before = await conflated();
  let seq = 0;
  do {
    const from = seq + 1;
    seq += 300;
    await heavy(Array.from({ length: 300 }, (_, i) => ({ id, seq: from + i })));
  } while ((await conflated()) <= before + 100);
  return seq;
}

const pushes = (raw: RawRider, channel: string): Record<string, any>[] =>
  raw.lines.flatMap(({ push }) => (push?.channel === channel ? [push.pub] : []));

test("who reads slowly gets the newest, and others everything", async () => {
  const client = centrifuge(gateway);
  const other = await follow(client, "driver:s1");
  const slow = await rawRider(gateway);
  slow.send({ id: 2, subscribe: { channel: "driver:s1" } });
  await slow.reply(2);
  slow.socket.pause();
  const last = await untilConflated("s1");
  await until(() => other.seqs.includes(last));
  expect(other.seqs).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  slow.socket.resume();
  const seqs = await until(() => {
    const got = pushes(slow, "driver:s1").map(({ data }) => data.seq as number);
    return got.at(-1) === last && got;
  });
  expect(seqs.length).toBeLessThan(last);
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  const offsets = pushes(slow, "driver:s1").map(({ offset }) => offset as number);
  expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
  // and it is live again
  await ping(gateway, { id: "s1", seq: last + 1 }, { id: "s1", seq: last + 2 });
  await until(() => pushes(slow, "driver:s1").at(-1)?.data.seq === last + 2);
  expect(pushes(slow, "driver:s1").at(-2)?.data.seq).toBe(last + 1);
  slow.socket.close();
  client.disconnect();
});

test("who reads a box slowly has it right in the end", async () => {
  const ids = Array.from({ length: 60 }, (_, i) => `x${i}`);
  const inside = { lat: 30, lon: 30 };
  await heavy(ids.map((id) => ({ id, seq: 0, ...inside })));
  const slow = await until(async () => {
    const raw = await rawRider(gateway);
    raw.send({ id: 2, subscribe: { channel: "bbox:29,29,31,31" } });
    if ((await raw.reply(2)).subscribe.publications?.length === ids.length) return raw;
    raw.socket.close();
    return null;
  });
  slow.socket.pause();
  const before = await conflated();
  let seq = 0;
  do {
    for (let i = 0; i < 10; i++) {
      seq++;
      await heavy(ids.map((id) => ({ id, seq, ...inside })));
    }
  } while ((await conflated()) <= before + 100);
  // every third leaves, and every sixth of those comes back
  const leaves = ids.filter((_, i) => i % 3 === 0);
  const returns = ids.filter((_, i) => i % 6 === 0);
  await heavy(leaves.map((id) => ({ id, seq: seq + 1, lat: -30, lon: 30 })));
  await heavy(returns.map((id) => ({ id, seq: seq + 2, ...inside })));
  slow.socket.resume();
  const truth = new Map(ids.map((id) => [id, seq]));
  for (const id of leaves) truth.delete(id);
  for (const id of returns) truth.set(id, seq + 2);
  const sorted = (map: Map<string, number>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  await until(() => {
    const map = new Map<string, number>();
    const [, { subscribe }] = slow.lines;
    const told = [...subscribe.publications, ...pushes(slow, "bbox:29,29,31,31")];
    for (const { data } of told) {
      if (data.gone) map.delete(data.id);
      else map.set(data.id, data.seq);
    }
    return JSON.stringify(sorted(map)) === JSON.stringify(sorted(truth));
  });
  slow.socket.close();
});

test("a frozen one is closed after its grace, and told so when it wakes", async () => {
  const client = centrifuge(gateway);
  const other = await follow(client, "driver:s2");
  const frozen = await rawRider(gateway);
  await until(async () => (await clients()) === 2);
  frozen.send({ id: 2, subscribe: { channel: "driver:s2" } });
  await frozen.reply(2);
  frozen.socket.pause();
  const last = await untilConflated("s2");
  await until(async () => (await clients()) === 1);
  await ping(gateway, { id: "s2", seq: last + 1 });
  await until(() => other.seqs.includes(last + 1));
  expect(other.seqs).toEqual(Array.from({ length: last + 1 }, (_, i) => i + 1));
  frozen.socket.resume();
  expect(await frozen.closed).toEqual({ code: 3008, reason: "slow" });
  expect(await gateway.metric("milepost_stream_errors_total", `code="3008"`)).toBe(1);
  client.disconnect();
});

test("who asks and never reads is closed", async () => {
  const client = centrifuge(gateway);
  const seen = await follow(client, "driver:s3");
  await heavy(Array.from({ length: 64 }, (_, i) => ({ id: "s3", seq: i + 1 })));
  await until(() => seen.seqs.includes(64));
  const greedy = await rawRider(gateway);
  greedy.socket.pause();
  const before = await gateway.metric("milepost_stream_errors_total", `code="3008"`);
  const history = { channel: "driver:s3", limit: -1 };
  const commands = Array.from({ length: 2000 }, (_, i) => ({ id: i + 2, history }));
  const times = Math.ceil((2 * limits.riderWaitingBytesMax) / JSON.stringify(commands).length);
  for (let i = 0; i < times; i++) greedy.send(...commands);
  await until(async () => {
    return (await gateway.metric("milepost_stream_errors_total", `code="3008"`)) > before;
  });
  await ping(gateway, { id: "s3", seq: 65 });
  await until(() => seen.seqs.includes(65));
  greedy.socket.terminate();
  client.disconnect();
});

test("at shutdown everybody is told to come back", async () => {
  const stopping = await startGateway();
  const client = centrifuge(stopping);
  const seen = await follow(client, "driver:z");
  const raw = await rawRider(stopping);
  const why = new Promise((resolve) => client.on("connecting", resolve));
  expect(await stopping.stop()).toBe(0);
  expect(await raw.closed).toEqual({ code: 3001, reason: "shutdown" });
  expect(await why).toMatchObject({ code: 3001, reason: "shutdown" });
  expect(seen.told).toEqual([]);
  client.disconnect();
});
