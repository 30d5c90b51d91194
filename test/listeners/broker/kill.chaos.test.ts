/**
 * `kill -9` while messages and commands are acknowledged for a session that is away: each time the
 * session comes back it finds all that was acknowledged, in the order it was sent.
 */
import mqtt, { type MqttClient } from "mqtt";
import { afterEach, expect, test } from "vitest";
import { startGateway, type Gateway } from "../../harness/gateway.ts";

const ROUNDS = 4;
/** Of each kind: both together stay below the 100 that a session keeps. */
const MESSAGES = 45;
const topics = ["jobs/van", "fleet/van/cmd"];
const van = { clientId: "van", clean: false };

let gateway: Gateway | null = null;
const clients: MqttClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true);
  await gateway?.stop();
});

function dial(options: object): MqttClient {
  const port = gateway?.ports.mqtt as number;
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  client.on("error", () => {});
  clients.push(client);
  return client;
}

const connected = (client: MqttClient): Promise<unknown> =>
  new Promise((resolve) => client.once("connect", resolve));

test(
  "an absent session finds what was acknowledged before kill -9",
  { timeout: 120_000 },
  async () => {
    gateway = await startGateway({ args: ["--workers", "2"] });
    const first = dial(van);
    await connected(first);
    await first.subscribeAsync({ "jobs/#": { qos: 1 }, "fleet/van/cmd": { qos: 1 } });
    await first.endAsync();
    let sequence = 0;
    let state = -1;
    for (let round = 0; round < ROUNDS; round++) {
      const acked = new Set<string>();
      const sender = dial({ clientId: `sender-${round}` });
      await connected(sender);
      const from = sequence;
      for (let i = 0; i < MESSAGES; i++, sequence++) {
        const n = sequence;
        for (const topic of topics) {
          const sent = sender.publishAsync(topic, `${n}`, { qos: 1 });
          void sent.then(() => acked.add(`${topic} ${n}`)).catch(() => {});
        }
        const kept = sender.publishAsync("state/van", `${n}`, { qos: 1, retain: true });
        void kept.then(() => (state = Math.max(state, n))).catch(() => {});
      }
      // somewhere between the first acknowledgement and the last
      const enough = Math.floor((round / ROUNDS) * 2 * MESSAGES) + 1;
      await expect.poll(() => acked.size, { interval: 1 }).toBeGreaterThanOrEqual(enough);
      await gateway.kill();
      sender.end(true);
      await gateway.start();

      const seen = new Map(topics.map((topic): [string, number[]] => [topic, []]));
      const back = dial(van);
      back.on("message", (topic, payload) => seen.get(topic)?.push(Number(payload)));
      expect(await connected(back)).toMatchObject({ sessionPresent: true });
      const has = (key: string): boolean => {
        const [topic, n] = key.split(" ");
        return seen.get(topic)?.includes(Number(n)) === true;
      };
      await expect.poll(() => [...acked].filter((key) => !has(key))).toEqual([]);
      for (const numbers of seen.values()) {
        const firsts = [...new Set(numbers)].filter((n) => n >= from);
        expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
      }
      if (state >= 0) expect(await retained(back)).toBeGreaterThanOrEqual(state);
      await back.endAsync();
    }
  },
);

async function retained(client: MqttClient): Promise<number> {
  const value = new Promise<number>((resolve) => {
    client.on("message", (topic, p) => topic === "state/van" && resolve(Number(p)));
  });
  await client.subscribeAsync("state/van", { qos: 0 });
  await client.unsubscribeAsync("state/van");
  return value;
}
