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

async function start(log: LogClient, now = Date.now) {
  const opened = await openBroker(log, { now });
  const raw = new RawLink(opened.broker);
  closing.push(opened.close, () => raw.close());
  const counts = (): Record<string, number> => {
    const metrics = opened.registry.snapshot().filter((m) => m.name === "milepost_commands_total");
    return Object.fromEntries(metrics.map((m) => [m.labels.outcome, "value" in m ? m.value : 0]));
  };
  return { ...opened, raw, counts };
}

async function device(
  raw: RawLink,
  topic: string,
  { clientId = "phone", clean = false, qos = 1 } = {},
): Promise<RawClient> {
  const client = raw.attach({ clientId, clean });
  await client.take("connack");
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] });
  await client.take("suback");
  return client;
}

async function payloads(client: RawClient, n: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < n) {
    const { payload, messageId } = await client.take("publish");
    client.send({ cmd: "puback", messageId });
    got.push(String(payload));
  }
  return got;
}

const numbers = (n: number): string[] => Array.from({ length: n }, (_, i) => `${i}`);

test("a connected device gets commands in order, untouched, at QoS min(1, granted)", async () => {
  const { raw, broker } = await start(await newLog());
  const devices = [];
  for (const qos of [0, 1, 2]) {
    const clientId = `q${qos}`;
    devices.push(await device(raw, "fleet/d1/cmd", { clientId, clean: true, qos }));
  }
  const bytes = Buffer.from([0, 255, 10, 128]);
  const places = [];
  for (let i = 0; i < 50; i++) {
    places.push(await broker.command("d1", Buffer.concat([Buffer.from([i]), bytes])));
  }
  expect(places.map((p) => p.offset)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  expect(new Set(places.map((p) => p.partition)).size).toBe(1);
  for (const [granted, client] of devices.entries()) {
    for (let i = 0; i < 50; i++) {
      const packet = await client.take("publish");
      expect(packet).toMatchObject({ qos: Math.min(1, granted), topic: "fleet/d1/cmd" });
      expect(packet.payload).toEqual(Buffer.concat([Buffer.from([i]), bytes]));
    }
  }
});

test("commands wait for a session that is away, across a restart", async () => {
  const log = await newLog();
  const first = await start(log);
  (await device(first.raw, "fleet/d1/cmd")).detach(true);
  for (const n of numbers(10)) await first.broker.command("d1", Buffer.from(n));
  await expect.poll(() => first.counts().delivered).toBe(10);
  const second = await start(log);
  for (const n of numbers(5)) await second.broker.command("d1", Buffer.from(`later ${n}`));
  const back = second.raw.attach({ clientId: "phone", clean: false });
  await back.take("connack");
  expect(await payloads(back, 15)).toEqual([
    ...numbers(10),
    ...numbers(5).map((n) => `later ${n}`),
  ]);
  back.send({ cmd: "pingreq" });
  await back.take("pingresp");
  expect(back.packets).toEqual([]);
  await second.close();
  // what was acknowledged and journaled as delivered does not come again
  const third = await start(log);
  const again = third.raw.attach({ clientId: "phone", clean: false });
  await again.take("connack");
  await third.broker.command("d1", Buffer.from("last"));
  expect(await payloads(again, 1)).toEqual(["last"]);
});

test("an OwnTracks device gets them on its own topic", async () => {
  const { raw, broker } = await start(await newLog());
  const phone = await device(raw, "owntracks/ann/phone/cmd");
  const other = await device(raw, "owntracks/ann:x/phone/cmd", { clientId: "other" });
  await broker.command("ann:phone", Buffer.from("one"));
  await broker.command("ann:x:phone", Buffer.from("two"));
  expect(await payloads(phone, 1)).toEqual(["one"]);
  expect(await payloads(other, 1)).toEqual(["two"]);
});

test("too old, nobody there, no driver: skipped and counted", async () => {
  const log = await newLog();
  const now = Date.now();
  const timestamp = now - limits.commandAgeMsMax;
  const key = Buffer.from("d1");
  const value = Buffer.from("x");
  const first = await start(log, () => now);
  const phone = await device(first.raw, "fleet/d1/cmd");
  await log.append("commands", [
    { key, value, timestamp },
    { key: Buffer.from("d2"), value },
    { key: null, value, partition: 0 },
    { key: Buffer.from("a/b"), value },
    { key: Buffer.from("x".repeat(129)), value },
    { key, value: null },
    { key, value: Buffer.from("fresh"), timestamp: timestamp + 1 },
  ]);
  expect(await payloads(phone, 1)).toEqual(["fresh"]);
  await expect.poll(first.counts).toEqual({ delivered: 1, expired: 1, no_session: 1, invalid: 4 });
});

test("a command's 24 hours begin when it was given", async () => {
  let now = Date.now();
  const log = await newLog();
  const first = await start(log, () => now);
  (await device(first.raw, "fleet/d1/cmd")).detach(true);
  const timestamp = now - limits.commandAgeMsMax + 60_000;
  const key = Buffer.from("d1");
  await log.append("commands", [{ key, value: Buffer.from("old"), timestamp }]);
  await first.broker.command("d1", Buffer.from("new"));
  await expect.poll(() => first.counts().delivered).toBe(2);
  now += 60_000;
  const back = first.raw.attach({ clientId: "phone", clean: false });
  expect(await payloads(back, 1)).toEqual(["new"]);
});

test("command() refuses bad drivers and large payloads", async () => {
  const { broker } = await start(await newLog());
  for (const driver of ["", "a/b", "a+", "#", "a\n", "x".repeat(129)]) {
    await expect(broker.command(driver, Buffer.from("x"))).rejects.toThrow("driver id");
  }
  await expect(broker.command("d", Buffer.alloc(8193))).rejects.toThrow("larger");
  await expect(broker.command("d", Buffer.alloc(8192))).resolves.toMatchObject({ offset: 0 });
});
