import { afterEach, expect, test } from "vitest";
import type { LogClient } from "../../../src/log/types.ts";
import { limits } from "../../../src/model/limits.ts";
import { openBroker } from "./open-broker.ts";
import { newLog } from "./real-log.ts";
import { RawLink, type RawClient } from "./raw-client.ts";

const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(log?: LogClient) {
  const opened = await openBroker(log ?? (await newLog()));
  const raw = new RawLink(opened.broker);
  closing.push(opened.close, () => raw.close());
  return { ...opened, raw };
}

const status = "fleet/d1/status";
const offline = { topic: status, payload: Buffer.from("offline"), qos: 1, retain: true };

async function online(raw: RawLink): Promise<RawClient> {
  const driver = raw.attach({ clientId: "d1", will: offline });
  await driver.take("connack");
  driver.send({
    cmd: "publish",
    topic: status,
    payload: "online",
    qos: 1,
    messageId: 1,
    retain: true,
  });
  await driver.take("puback");
  return driver;
}

async function retained(raw: RawLink, topic = status): Promise<string> {
  const reader = raw.attach({ clientId: `r${Math.random()}` });
  await reader.take("connack");
  reader.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
  const packet = await reader.take("publish");
  expect(packet).toMatchObject({ retain: true });
  reader.detach(true);
  return String(packet.payload);
}

test("a will is published when the connection is lost, not after a DISCONNECT", async () => {
  const { raw } = await start();
  const graceful = await online(raw);
  expect(await retained(raw)).toBe("online");
  graceful.detach(true);
  expect(await retained(raw)).toBe("online");
  const disconnects = await online(raw);
  disconnects.send({ cmd: "disconnect" });
  await disconnects.untilClosed();
  expect(await retained(raw)).toBe("online");
  (await online(raw)).detach(false);
  await expect.poll(() => retained(raw)).toBe("offline");
  const malformed = await online(raw);
  malformed.bytesOf(Buffer.from([0xe0, 1, 0]));
  await malformed.untilClosed();
  await expect.poll(() => retained(raw)).toBe("offline");
});

test("status reaches other workers, and a crash makes it offline at the next start", async () => {
  const log = await newLog();
  const { raw, broker } = await start(log);
  const otherWorker = new RawLink(broker);
  closing.push(() => otherWorker.close());
  await online(raw);
  expect(await retained(otherWorker)).toBe("online");
  // no orderly end: the log is all that the next broker has
  const next = await start(log);
  expect(await retained(next.raw)).toBe("offline");
  await online(next.raw);
  expect(await retained(next.raw)).toBe("online");
});

test("an orderly end publishes the wills, once", async () => {
  const log = await newLog();
  const first = await openBroker(log);
  const raw = new RawLink(first.broker);
  await online(raw);
  raw.link.close();
  await first.close();
  const next = await start(log);
  expect(await retained(next.raw)).toBe("offline");
  (await online(next.raw)).detach(true);
  const clients = (): unknown =>
    next.registry.snapshot().find((m) => m.name === "milepost_broker_clients");
  await expect.poll(clients).toMatchObject({ value: 0 });
  await next.close();
  const third = await start(log);
  expect(await retained(third.raw)).toBe("online");
});

test("a will on an ingest topic is handed to a worker, also after a crash", async () => {
  const log = await newLog();
  const { raw, ingestWills } = await start(log);
  const will = { topic: "fleet/d9/event", payload: Buffer.from("{}"), qos: 1, retain: true };
  for (const clientId of ["lost", "crashed", "graceful"]) {
    await raw.attach({ clientId, will }).take("connack");
  }
  raw.link.detach(3, true);
  raw.link.detach(1, false);
  await expect.poll(() => ingestWills).toEqual(["fleet/d9/event {} lost"]);
  const next = await start(log);
  await expect.poll(() => next.ingestWills).toEqual(["fleet/d9/event {} crashed"]);
  const third = await start(log);
  await retainedNothing(third.raw, "fleet/d9/#");
  expect(third.ingestWills).toEqual([]);
});

async function retainedNothing(raw: RawLink, topic: string): Promise<void> {
  const reader = raw.attach({ clientId: "nothing" });
  await reader.take("connack");
  reader.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 0 }] });
  await reader.take("suback");
  reader.send({ cmd: "pingreq" });
  await reader.take("pingresp");
  expect(reader.packets).toEqual([]);
  reader.detach(true);
}

test("retained messages: replaced, deleted, found by wildcards, at most 10 000", async () => {
  const log = await newLog();
  const { raw, registry } = await start(log);
  const pub = raw.attach({ clientId: "pub" });
  await pub.take("connack");
  const send = (topic: string, payload: string): void =>
    pub.send({ cmd: "publish", topic, payload, qos: 0, retain: true });
  send("a/1", "old");
  send("a/1", "new");
  send("a/2", "gone");
  send("a/2", "");
  for (let i = 1; i <= limits.retainedMax; i++) send(`many/${i}`, "x");
  pub.send({ cmd: "pingreq" });
  await pub.take("pingresp");
  const refused = registry.snapshot().find((m) => m.labels.what === "retain");
  expect(refused).toMatchObject({ value: 1 });
  expect(await retained(raw, "a/#")).toBe("new");
  await retainedNothing(raw, "a/2");
  await retainedNothing(raw, `many/${limits.retainedMax}`);
  pub.send({ cmd: "publish", topic: "a/1", payload: "newest", qos: 1, messageId: 1, retain: true });
  await pub.take("puback");
  const next = await start(log);
  expect(await retained(next.raw, "a/+")).toBe("newest");
  const all = next.raw.attach({ clientId: "all" });
  await all.take("connack");
  all.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "many/+", qos: 0 }] });
  for (let i = 1; i < limits.retainedMax; i++) await all.take("publish");
});
