import { afterEach, expect, test } from "vitest";
import { limits } from "../../../src/model/limits.ts";
import { openBroker } from "./open-broker.ts";
import { newLog } from "./real-log.ts";
import { RawLink, type RawClient } from "./raw-client.ts";

const closing: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start() {
  const opened = await openBroker(await newLog());
  const raw = new RawLink(opened.broker);
  closing.push(opened.close, () => raw.close());
  const value = (name: string, label: string): number => {
    const found = opened.registry
      .snapshot()
      .find((m) => m.name === name && Object.values(m.labels).includes(label));
    return found !== undefined && "value" in found ? found.value : 0;
  };
  return { ...opened, raw, value };
}

async function subscriber(raw: RawLink, qos: number, connect = {}): Promise<RawClient> {
  const client = raw.attach({ clientId: `s${Math.random()}`, ...connect });
  await client.take("connack");
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos }] });
  await client.take("suback");
  return client;
}

async function publisher(raw: RawLink): Promise<RawClient> {
  const client = raw.attach({ clientId: `p${Math.random()}` });
  await client.take("connack");
  return client;
}

const payload = Buffer.alloc(16 * 1024, "x");

test("a frozen subscriber loses QoS 0; one that reads gets everything", async () => {
  const { raw, value } = await start();
  const frozen = await subscriber(raw, 0);
  const reader = await subscriber(raw, 0);
  const pub = await publisher(raw);
  frozen.frozen = true;
  for (let i = 0; i < 200; i++) {
    pub.send({ cmd: "publish", topic: "t", payload });
    await reader.take("publish");
  }
  expect(frozen.closed).toBe(false);
  expect(frozen.bytes).toBeLessThan(limits.mqttOutboundBytesMax);
  expect(value("milepost_broker_dropped_total", "qos0")).toBeGreaterThan(100);
  frozen.thaw();
  frozen.packets.length = 0;
  await expect
    .poll(async () => {
      pub.send({ cmd: "publish", topic: "t", payload: "after" });
      await reader.take("publish");
      return frozen.packets.length;
    })
    .toBeGreaterThan(0);
});

test("a frozen subscriber of QoS 1 is closed, and finds the rest when it comes back", async () => {
  const { raw, value } = await start();
  const frozen = await subscriber(raw, 1, { clientId: "frozen", clean: false });
  const reader = await subscriber(raw, 1);
  const pub = await publisher(raw);
  frozen.frozen = true;
  let sent = 0;
  while (!frozen.closed) {
    pub.send({ cmd: "publish", topic: "t", payload, qos: 1, messageId: 9 });
    await pub.take("puback");
    await reader.take("publish");
    expect(++sent).toBeLessThan(200);
  }
  expect(value("milepost_broker_closed_total", "slow")).toBe(1);
  const back = raw.attach({ clientId: "frozen", clean: false });
  await back.take("connack");
  for (let i = 0; i < 60; i++) await back.take("publish");
});

test("queued messages wait for a slow reader instead of closing it", async () => {
  const { raw } = await start();
  const away = await subscriber(raw, 1, { clientId: "slow", clean: false });
  away.detach(true);
  const pub = await publisher(raw);
  for (let i = 0; i < 60; i++) {
    pub.send({ cmd: "publish", topic: "t", payload, qos: 1, messageId: 9 });
    await pub.take("puback");
  }
  const back = raw.attach({ clientId: "slow", clean: false });
  back.frozen = true;
  await expect.poll(() => back.bytes).toBeGreaterThan(limits.brokerUnreadBytesMax);
  for (let i = 0; i < 10; i++) {
    pub.send({ cmd: "pingreq" });
    await pub.take("pingresp");
  }
  expect(back.closed).toBe(false);
  expect(back.bytes).toBeLessThan(limits.mqttOutboundBytesMax / 2);
  back.frozen = false;
  back.thaw();
  while (back.bytes < 60 * payload.length) {
    await new Promise((resolve) => setImmediate(resolve));
    back.thaw();
  }
  expect(back.closed).toBe(false);
});

test("a publisher that outruns the broker is told to wait, and loses nothing", async () => {
  const { raw } = await start();
  const reader = await subscriber(raw, 0);
  const pub = await publisher(raw);
  const big = Buffer.alloc(60 * 1024);
  const bytes = packetOf(big);
  let waits = 0;
  for (let i = 0; i < 50; i++) {
    if (pub.bytesOf(bytes)) continue;
    waits++;
    await new Promise<void>((resolve) => (raw.link.onDrain = () => resolve()));
  }
  expect(waits).toBeGreaterThan(5);
  for (let i = 0; i < 50; i++) await reader.take("publish");
});

function packetOf(body: Buffer): Buffer {
  const remaining = 2 + 1 + body.length;
  const length = Buffer.from([
    (remaining & 0x7f) | 0x80,
    ((remaining >> 7) & 0x7f) | 0x80,
    remaining >> 14,
  ]);
  return Buffer.concat([Buffer.from([0x30]), length, Buffer.from([0, 1]), Buffer.from("t"), body]);
}

test("a thousand packets pipelined behind CONNECT are taken in order", async () => {
  const { raw } = await start();
  const reader = await subscriber(raw, 1);
  const client = raw.attach({ clientId: "backlog" });
  for (let i = 0; i < 1000; i++) {
    client.send({ cmd: "publish", topic: "t", payload: `${i}`, qos: 1, messageId: i + 1 });
  }
  await client.take("connack");
  for (let i = 0; i < 1000; i++) {
    expect((await client.take("puback")).messageId).toBe(i + 1);
    expect(String((await reader.take("publish")).payload)).toBe(`${i}`);
  }
});

test("a swallowed CONNACK is not sent, and the rest is as usual", async () => {
  const { raw } = await start();
  const client = raw.attach({ clientId: "late" }, true);
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "t", qos: 1 }] });
  await client.take("suback");
  client.send({ cmd: "publish", topic: "t", payload: "x", qos: 1, messageId: 2 });
  await client.take("publish");
  await client.take("puback");
  expect(client.order).not.toContain("connack");
});

test("bytes for a connection that has gone do not reach its successor", async () => {
  const { raw } = await start();
  const pub = await publisher(raw);
  for (let i = 0; i < 50; i++) {
    const gone = await subscriber(raw, 0);
    pub.send({ cmd: "publish", topic: "t", payload: "for the one before" });
    gone.detach(false);
    // the worker gives the number away again at once
    const connect = Buffer.from("100e00044d51545404020000" + "0002" + "6e78", "hex");
    gone.packets.length = 0;
    raw.link.attach(gone.conn, connect, false, "test");
    await gone.take("connack");
    expect(gone.packets).toEqual([]);
    raw.link.detach(gone.conn, true);
  }
});
