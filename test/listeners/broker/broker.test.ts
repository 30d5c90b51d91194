import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { afterEach, expect, test } from "vitest";
import type { LogClient } from "../../../src/log/types.ts";
import { Bridge } from "./bridge.ts";
import { openBroker } from "./open-broker.ts";
import { newLog } from "./real-log.ts";

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(log?: LogClient) {
  const opened = await openBroker(log ?? (await newLog()));
  const bridge = new Bridge(opened.broker);
  const url = await bridge.listen();
  closing.push(async () => {
    await bridge.close();
    await opened.close();
  });
  return { ...opened, url };
}

async function connect(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options });
  closing.push(async () => client.end(true));
  return client;
}

/** Everything a client receives, as `topic payload`, and a way to wait for the n-th. */
function inbox(client: MqttClient): { got: string[]; until: (n: number) => Promise<string[]> } {
  const got: string[] = [];
  let wake = (): void => {};
  client.on("message", (topic, payload, { qos, retain, dup }) => {
    got.push(`${topic} ${payload} q${qos}${retain ? " retained" : ""}${dup ? " dup" : ""}`);
    wake();
  });
  const until = async (n: number): Promise<string[]> => {
    while (got.length < n) await new Promise<void>((resolve) => (wake = resolve));
    return got;
  };
  return { got, until };
}

test("publishes reach subscribers in order, at the lower QoS of the two", async () => {
  const { url } = await start();
  const sub = await connect(url);
  const pub = await connect(url);
  const box = inbox(sub);
  await sub.subscribeAsync({ "a/+": { qos: 1 }, "b/#": { qos: 2 }, c: { qos: 0 } });
  for (const qos of [0, 1, 2] as const) {
    await pub.publishAsync("a/x", `a${qos}`, { qos });
    await pub.publishAsync("b/y/z", `b${qos}`, { qos });
    await pub.publishAsync("c", `c${qos}`, { qos });
  }
  await box.until(9);
  expect(box.got.toSorted()).toEqual([
    "a/x a0 q0",
    "a/x a1 q1",
    "a/x a2 q1",
    "b/y/z b0 q0",
    "b/y/z b1 q1",
    "b/y/z b2 q2",
    "c c0 q0",
    "c c1 q0",
    "c c2 q0",
  ]);
});

test("a thousand pipelined messages of each QoS keep their order", async () => {
  const { url } = await start();
  const sub = await connect(url);
  const pub = await connect(url);
  const box = inbox(sub);
  await sub.subscribeAsync("n/#", { qos: 2 });
  const sends: Promise<unknown>[] = [];
  for (let i = 0; i < 1000; i++) {
    for (const qos of [0, 1, 2] as const) sends.push(pub.publishAsync(`n/${qos}`, `${i}`, { qos }));
  }
  await Promise.all(sends);
  await box.until(3000);
  for (const qos of [0, 1, 2]) {
    const seen = box.got.filter((m) => m.startsWith(`n/${qos} `)).map((m) => m.split(" ")[1]);
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
  }
});

test("a persistent session gets what came while it was away, across a restart", async () => {
  const log = await newLog();
  const first = await start(log);
  const session = { clientId: "van-1", clean: false };
  const away = await connect(first.url, session);
  await away.subscribeAsync("jobs/+", { qos: 1 });
  await away.endAsync();
  const pub = await connect(first.url);
  await pub.publishAsync("jobs/a", "one", { qos: 1 });
  await pub.publishAsync("jobs/b", "two", { qos: 2 });
  // no orderly end: the log is all that the next broker has
  const second = await start(log);
  expect(second.broker.hasSession("van-1")).toBe(true);
  const back = mqtt.connect(second.url, { ...session, reconnectPeriod: 0 });
  closing.push(async () => back.end(true));
  const box = inbox(back);
  const present = await new Promise((resolve) =>
    back.on("connect", (connack) => resolve(connack.sessionPresent)),
  );
  expect(present).toBe(true);
  expect(await box.until(2)).toEqual(["jobs/a one q1", "jobs/b two q1"]);
});
