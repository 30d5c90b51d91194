/** The clients that users have: mosquitto's own, MQTT.js on TCP and on WebSocket. */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import mqtt, { type MqttClient } from "mqtt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dump, startGateway, type Gateway } from "../harness/gateway.ts";
import { ping } from "../listeners/mqtt/bytes.ts";
import { howToAdd, missing, parts } from "../setup/parts.ts";

const run = promisify(execFile);
let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--workers", "2"] });
});
afterAll(() => gateway.stop());

const end = (client: MqttClient): Promise<void> => client.endAsync();
const message = (client: MqttClient): Promise<[string, string]> =>
  new Promise((resolve) => {
    client.once("message", (topic, payload) => resolve([topic, String(payload)]));
  });

const absent = missing("mosquitto");
describe.skipIf(absent)(absent ? `mosquitto (${howToAdd(parts.mosquitto)})` : "mosquitto", () => {
  const pub = (...args: string[]) =>
    run("mosquitto_pub", ["-p", String(gateway.ports.mqtt), ...args], { timeout: 10_000 });
  const sub = (...args: string[]): Promise<string> => {
    const child = spawn("mosquitto_sub", ["-p", String(gateway.ports.mqtt), "-d", ...args]);
    let out = "";
    return new Promise((resolve, reject) => {
      child.stdout.on("data", (b) => {
        out += String(b);
        if (out.includes("Subscribed")) resolve(ended);
      });
      const ended = new Promise<string>((done) => child.on("close", () => done(out)));
      child.on("error", reject);
      setTimeout(() => child.kill(), 15_000).unref();
    }) as Promise<string>;
  };

  test.each([0, 1, 2])("mosquitto_pub, QoS %i", async (qos) => {
    const id = `mq${qos}`;
    await pub("-q", String(qos), "-t", `fleet/${id}/position`, "-m", ping(id));
    await expect
      .poll(() => gateway.metric("milepost_log_end_offset", 'topic="positions"'))
      .toBe(qos + 1);
  });

  test("MQTT 5 is refused in its own format", async () => {
    const failed = await pub("-V", "5", "-t", "fleet/a/position", "-m", "x").catch((e) => e);
    expect(String(failed.stderr)).toMatch(/protocol version|Unsupported/i);
  });

  test("a command from the admin port reaches mosquitto_sub", async () => {
    const got = sub("-t", "fleet/van/cmd", "-q", "1", "-i", "van", "-C", "1");
    const url = `http://127.0.0.1:${gateway.ports.admin}/v1/drivers/van/cmd`;
    await new Promise((resolve) => setTimeout(resolve, 500));
    const answer = await fetch(url, { method: "POST", body: "come home" });
    expect(answer.status).toBe(202);
    expect(Object.keys((await answer.json()) as object).sort()).toEqual(["offset", "partition"]);
    expect(await got).toContain("come home");
  });
});

describe.each(["tcp", "websocket"])("MQTT.js over %s", (transport) => {
  const dial = (clientId: string, more: mqtt.IClientOptions = {}): Promise<MqttClient> => {
    const { mqtt: tcp, device } = gateway.ports;
    const url = transport === "tcp" ? `mqtt://127.0.0.1:${tcp}` : `ws://127.0.0.1:${device}/mqtt`;
    return mqtt.connectAsync(url, { clientId, reconnectPeriod: 0, ...more });
  };

  test.each([0, 1, 2] as const)("publishes at QoS %i", async (qos) => {
    const id = `${transport}-${qos}`;
    const client = await dial(id);
    for (let i = 0; i < 50; i++) {
      await client.publishAsync(`fleet/${id}/position`, ping(id), { qos });
    }
    await end(client);
  });

  test("a retained status and its will reach whoever asks later, on any worker", async () => {
    const id = `st-${transport}`;
    const topic = `fleet/${id}/status`;
    const will = { topic, payload: Buffer.from("offline"), qos: 1 as const, retain: true };
    const device = await dial(id, { will });
    await device.publishAsync(topic, "online", { qos: 1, retain: true });
    const watcher = await dial(`w-${transport}`);
    const first = message(watcher);
    await watcher.subscribeAsync(topic, { qos: 1 });
    expect(await first).toEqual([topic, "online"]);
    const second = message(watcher);
    device.stream.destroy();
    expect(await second).toEqual([topic, "offline"]);
    const late = await dial(`l-${transport}`);
    const third = message(late);
    await late.subscribeAsync(topic, { qos: 1 });
    expect(await third).toEqual([topic, "offline"]);
    await Promise.all([end(watcher), end(late)]);
  });

  test("a command that MQTT published waits for a device with a kept session", async () => {
    const id = `kept-${transport}`;
    const device = await dial(id, { clean: false });
    await device.subscribeAsync(`fleet/${id}/cmd`, { qos: 1 });
    await end(device);
    const office = await dial(`office-${transport}`);
    await office.publishAsync(`fleet/${id}/cmd`, "wake up", { qos: 1 });
    await end(office);
    const { mqtt: tcp, device: web } = gateway.ports;
    const url = transport === "tcp" ? `mqtt://127.0.0.1:${tcp}` : `ws://127.0.0.1:${web}/mqtt`;
    const back = mqtt.connect(url, { clientId: id, clean: false, reconnectPeriod: 0 });
    expect(await message(back)).toEqual([`fleet/${id}/cmd`, "wake up"]);
    await end(back);
  });

  test("other topics are ordinary MQTT: wildcards, QoS 2, order", async () => {
    const a = await dial(`a-${transport}`);
    const b = await dial(`b-${transport}`);
    const got: string[] = [];
    const all = new Promise<void>((resolve) => {
      b.on("message", (_, payload) => {
        if (got.push(String(payload)) === 30) resolve();
      });
    });
    await b.subscribeAsync("chat/+/room", { qos: 2 });
    for (let i = 0; i < 30; i++) await a.publishAsync("chat/7/room", `m${i}`, { qos: 2 });
    await all;
    expect(got).toEqual(Array.from({ length: 30 }, (_, i) => `m${i}`));
    await Promise.all([end(a), end(b)]);
  });
});

test("what they published is in the log, each once, in order", async () => {
  const { dataDir } = gateway;
  await gateway.end("SIGTERM");
  const records = await dump(dataDir, "positions");
  for (const id of ["tcp-1", "websocket-1", "tcp-2", "websocket-2"]) {
    const seqs = records
      .filter((r) => r.key === id)
      .map((r) => (JSON.parse(r.value as string) as { seq: number }).seq);
    expect(seqs).toHaveLength(50);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  }
}, 60_000);
