import { afterEach, expect, test } from "vitest";
import { limits } from "../../../src/model/limits.ts";
import type { LogClient } from "../../../src/log/types.ts";
import type { BrokerOptions } from "../../../src/listeners/broker/broker.ts";
import { openBroker, type Opened } from "./open-broker.ts";
import { newLog } from "./real-log.ts";
import { RawLink, type RawClient } from "./raw-client.ts";

const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Node = Opened & { raw: RawLink; client(connect?: object): Promise<RawClient> };

let nextId = 0;
async function start(log: LogClient, options: Partial<BrokerOptions> = {}): Promise<Node> {
  const opened = await openBroker(log, options);
  const raw = new RawLink(opened.broker);
  closing.push(opened.close, () => raw.close());
  const client = async (connect: object = {}): Promise<RawClient> => {
    const made = raw.attach({ clientId: `c${nextId++}`, ...connect });
    made.connack = await made.take("connack");
    return made;
  };
  return { ...opened, raw, client };
}

async function subscribe(client: RawClient, topic: string, qos = 1): Promise<void> {
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
  expect(await client.take("suback")).toMatchObject({ granted: [qos] });
}

async function publish(client: RawClient, topic: string, payload: string, more = {}) {
  client.send({ cmd: "publish", topic, payload, qos: 1, messageId: 2, ...more });
  await client.take("puback");
}

async function payloads(client: RawClient, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) got.push(String((await client.take("publish")).payload));
  return got;
}

/** Nothing more is on its way: what was sent before the PINGRESP has arrived. */
async function settled(client: RawClient): Promise<void> {
  for (let i = 0; i < 3; i++) {
    client.send({ cmd: "pingreq" });
    await client.take("pingresp");
  }
}

const van = { clientId: "van", clean: false };

test("an unacknowledged message comes again with DUP and its packet id", async () => {
  const node = await start(await newLog());
  const first = await node.client(van);
  await subscribe(first, "jobs");
  await publish(await node.client(), "jobs", "one");
  const { messageId } = await first.take("publish");
  first.detach(false);
  const second = await node.client(van);
  const again = await second.take("publish");
  expect(again).toMatchObject({ messageId, dup: true, payload: Buffer.from("one") });
  second.send({ cmd: "puback", messageId });
  await settled(second);
  second.detach(true);
  const third = await node.client(van);
  await settled(third);
  expect(third.packets).toEqual([]);
});

test("a QoS 2 exchange goes on where a restart cut it", async () => {
  const log = await newLog();
  const node = await start(log);
  const first = await node.client(van);
  await subscribe(first, "jobs", 2);
  const pub = await node.client();
  for (const [messageId, payload] of ["one", "two"].entries()) {
    pub.send({ cmd: "publish", topic: "jobs", payload, qos: 2, messageId: messageId + 1 });
    await pub.take("pubrec");
  }
  const one = await first.take("publish");
  const two = await first.take("publish");
  first.send({ cmd: "pubrec", messageId: one.messageId });
  await first.take("pubrel");
  const next = await start(log);
  const second = await next.client(van);
  expect(await second.take("pubrel")).toMatchObject({ messageId: one.messageId });
  expect(await second.take("publish")).toMatchObject({ messageId: two.messageId, qos: 2 });
  second.send({ cmd: "pubcomp", messageId: one.messageId });
  second.send({ cmd: "pubrec", messageId: two.messageId });
  await second.take("pubrel");
  second.send({ cmd: "pubcomp", messageId: two.messageId });
  await settled(second);
  await next.close();
  const third = await (await start(log)).client(van);
  await settled(third);
  expect(third.packets).toEqual([]);
});

test("a queue holds the newest 100, for 24 hours", async () => {
  let now = 1_000_000;
  const log = await newLog();
  const node = await start(log, { now: () => now });
  const away = await node.client(van);
  await subscribe(away, "jobs");
  away.detach(true);
  const pub = await node.client();
  for (let i = 0; i < 102; i++) {
    await publish(pub, "jobs", `${i}`);
    if (i === 50) now += 1000;
  }
  now += limits.commandAgeMsMax - 1000;
  const next = await start(log, { now: () => now });
  const back = await next.client(van);
  expect(await payloads(back, 51)).toEqual(Array.from({ length: 51 }, (_, i) => `${i + 51}`));
  await settled(back);
  expect(back.packets).toEqual([]);
});

test("a clean session ends the one before it, for good", async () => {
  const log = await newLog();
  const node = await start(log);
  const first = await node.client(van);
  await subscribe(first, "jobs");
  first.detach(true);
  await publish(await node.client(), "jobs", "one");
  expect(node.broker.hasSession("van")).toBe(true);
  const clean = await node.client({ clientId: "van" });
  expect(clean.connack).toMatchObject({ sessionPresent: false });
  clean.detach(true);
  expect(node.broker.hasSession("van")).toBe(false);
  await node.close();
  const next = await start(log);
  expect(next.broker.hasSession("van")).toBe(false);
  const back = await next.client(van);
  expect(back.connack).toMatchObject({ sessionPresent: false });
  await settled(back);
  expect(back.packets).toEqual([]);
});

test("a session without subscriptions is a session; clean ones are not written", async () => {
  const log = await newLog();
  const node = await start(log);
  (await node.client(van)).detach(true);
  const clean = await node.client({ clientId: "passer-by" });
  await subscribe(clean, "jobs");
  await node.close();
  const next = await start(log);
  expect((await next.client(van)).connack).toMatchObject({ sessionPresent: true });
  expect(next.broker.hasSession("passer-by")).toBe(false);
});

test("the newer of two connections with one client id stays", async () => {
  const node = await start(await newLog());
  const older = await node.client(van);
  const newer = await node.client(van);
  await older.untilClosed();
  await settled(newer);
});

test("a takeover in the middle of a burst loses nothing", async () => {
  const node = await start(await newLog());
  const older = await node.client(van);
  await subscribe(older, "jobs");
  const pub = await node.client();
  const burst = Array.from({ length: 90 }, (_, i) => `${i}`);
  let newer: RawClient | undefined;
  for (const [i, payload] of burst.entries()) {
    pub.send({ cmd: "publish", topic: "jobs", payload, qos: 1, messageId: i + 1 });
    if (i % 10 === 9) await pub.take("puback");
    if (i === 45) newer = node.raw.attach(van);
  }
  expect(await payloads(newer as RawClient, burst.length)).toEqual(burst);
  await older.untilClosed();
});

test("overlapping filters deliver once, at the best QoS", async () => {
  const node = await start(await newLog());
  for (const clean of [true, false]) {
    const sub = await node.client({ clean });
    await subscribe(sub, "jobs/#", 0);
    await subscribe(sub, "jobs/+", 2);
    await subscribe(sub, "jobs/a", 1);
    const pub = await node.client();
    await publish(pub, "jobs/a", "one");
    await settled(sub);
    expect(sub.packets).toMatchObject([{ cmd: "publish", qos: 1 }]);
    sub.send({ cmd: "puback", messageId: sub.packets[0].messageId });
    await settled(sub);
    sub.detach(true);
  }
});

test("what came before the CONNACK comes after it", async () => {
  const node = await start(await newLog());
  const first = await node.client(van);
  await subscribe(first, "jobs");
  first.detach(true);
  const pub = await node.client();
  for (let round = 0; round < 30; round++) {
    const back = node.raw.attach(van);
    await publish(pub, "jobs", `${round}`);
    await settledAfterConnack(back);
    expect(back.packets.filter((p) => p.cmd === "publish")).toHaveLength(1);
    const { messageId } = await back.take("publish");
    back.send({ cmd: "puback", messageId });
    await settled(back);
    back.detach(true);
  }
});

async function settledAfterConnack(client: RawClient): Promise<void> {
  await client.take("connack");
  expect(client.order[0]).toBe("connack");
  await settled(client);
}

test("a PUBACK is not sent when the message cannot be journaled", async () => {
  const log = await newLog();
  const node = await start(log);
  const away = await node.client(van);
  await subscribe(away, "jobs");
  away.detach(true);
  const pub = await node.client();
  await settled(pub);
  log.failing = true;
  pub.send({ cmd: "publish", topic: "jobs", payload: "unacknowledged", qos: 1, messageId: 2 });
  await pub.untilClosed();
  expect(pub.packets).toEqual([]);
  const other = await node.client();
  await publish(other, "nobody/listens", "x");
  log.failing = false;
  await publish(other, "jobs", "kept");
  const back = await (await start(log)).client(van);
  expect(await payloads(back, 2)).toEqual(["unacknowledged", "kept"]);
  expect(node.reports).toHaveLength(1);
});
