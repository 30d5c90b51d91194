/** The way up into a cluster, which is a gateway itself. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectAsync } from "mqtt";
import { milepost } from "../cli/run.ts";
import { Gateway, startGateway } from "../harness/gateway.ts";
import { drive, Driver, expectAll, pingsOf, stopAll } from "./fleet.ts";

const kills = Number(process.env.KILLS ?? 2);
const outageMs = Number(process.env.OUTAGE_MS ?? 2000);
const patiently = { timeout: 25_000, interval: 100 };

let target: Gateway;
let dir: string;
let brokers: string[];
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const behind = (dataDir: string, ...args: string[]): Gateway => {
  return new Gateway({ dataDir, args: ["--uplink", brokers[0], "--live", "off", ...args] });
};
const ready = async ({ ports }: Gateway): Promise<{ status: number; text: string }> => {
  const response = await fetch(`http://127.0.0.1:${ports.admin}/readyz?verbose`);
  return { status: response.status, text: await response.text() };
};
const statusOf = async (gateway: Gateway): Promise<number> => (await ready(gateway)).status;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "milepost-up-"));
  target = await startGateway({ args: ["--live", "off"] });
  brokers = [`127.0.0.1:${target.ports.kafka}`];
});
afterAll(async () => {
  await target.stop();
  rmSync(dir, { recursive: true, force: true });
});

test("a first start without the cluster says so and ends with 1", async () => {
  const alone = new Gateway({
    dataDir: join(dir, "alone"),
    args: ["--uplink", "127.0.0.1:1", "--live", "off"],
  });
  const failed = alone.start();
  await expect(failed).rejects.toThrow(/serve ended with 1: .*a first start needs it.*--uplink/s);
});

describe("mirrored", () => {
  let gateway: Gateway;
  beforeAll(async () => {
    gateway = behind(join(dir, "mirrored"), "--durability", "mirrored");
    await gateway.start();
  });
  afterAll(() => gateway.stop());

  test("an acknowledgement names the cluster's offset, where the ping is", async () => {
    const others = drive(gateway, 4, "m");
    await sleep(500);
    await stopAll(others);
    const kept = await pingsOf(brokers);
    expectAll(others, kept);
    const at = new Map(kept.map((ping) => [`${ping.partition}/${ping.offset}`, ping]));
    for (const { id, acked } of others) {
      expect(acked.size).toBeGreaterThan(20);
      for (const [seq, place] of acked) {
        expect(at.get(place?.join("/") ?? "")).toMatchObject({ id, seq });
      }
    }
  });

  test("nothing is acknowledged while it is away, and devices are told", async () => {
    const driver = new Driver(gateway, "away");
    await expect.poll(() => driver.acked.size, patiently).toBeGreaterThan(10);
    await target.kill();
    await expect.poll(() => statusOf(gateway), patiently).toBe(503);
    const { text } = await ready(gateway);
    expect(text).toMatch(
      /failed log: the uplink is away\nfailed uplink: the cluster does not answer/,
    );
    const before = driver.acked.size;
    const url = `http://127.0.0.1:${gateway.ports.device}/v1/ingest?driver=h`;
    const body = JSON.stringify({ ts: Date.now(), lat: 1, lon: 2 });
    const command = `http://127.0.0.1:${gateway.ports.admin}/v1/drivers/h/cmd`;
    for (const to of [url, command]) {
      const answer = await fetch(to, { method: "POST", body });
      expect(answer.status).toBe(503);
      expect(await answer.json()).toMatchObject({ error: { code: "uplink" } });
    }
    expect(driver.acked.size).toBe(before);
    // what waits for the cluster does not hold up a stop, and is there after the next start
    expect(await gateway.end("SIGTERM")).toBe(0);
    await gateway.start();
    expect(driver.acked.size).toBe(before);
    await target.start();
    await expect.poll(() => statusOf(gateway), patiently).toBe(200);
    await expect.poll(() => driver.acked.size, patiently).toBeGreaterThan(before);
    await driver.stop();
    expectAll([driver], await pingsOf(brokers));
  }, 90_000);
});

describe("flushed", () => {
  let gateway: Gateway;
  let other: Gateway;
  beforeAll(async () => {
    gateway = behind(join(dir, "one"));
    other = behind(join(dir, "other"));
    await Promise.all([gateway.start(), other.start()]);
  });
  afterAll(() => Promise.all([gateway.stop(), other.stop()]));

  test("a will on a position is taken like any ping", async () => {
    const payload = JSON.stringify({ ts: Date.now(), lat: 12.9, lon: 77.5, seq: 0 });
    const will = { topic: "fleet/will/position", payload: Buffer.from(payload), qos: 1 } as const;
    const options = { will: { ...will, retain: false }, reconnectPeriod: 0, clientId: "will" };
    const client = await connectAsync(`mqtt://127.0.0.1:${gateway.ports.mqtt}`, options);
    client.stream.destroy();
    const ids = async () => (await pingsOf(brokers)).map(({ id }) => id);
    await expect.poll(ids, patiently).toContain("will");
  });

  test(
    "kill -9 under load: all that was acknowledged arrives, once and in order",
    async () => {
      const drivers = [...drive(gateway, 6, "k"), ...drive(other, 2, "o")];
      for (let n = 0; n < kills; n++) {
        await sleep(300 + Math.random() * 700);
        await gateway.kill();
        await gateway.start();
      }
      await stopAll(drivers);
      const lag = (): Promise<number> => gateway.metric("milepost_uplink_lag_records");
      await expect.poll(lag, patiently).toBe(0);
      await expect.poll(() => other.metric("milepost_uplink_lag_records"), patiently).toBe(0);
      expectAll(drivers, await pingsOf(brokers));
      expect([...drivers[0].acked.values()].every((place) => place === null)).toBe(true);
    },
    30_000 + kills * 15_000,
  );

  test(
    "an outage longer than retention loses nothing; a full buffer stops acks",
    async () => {
      const retain = async (bytes: number): Promise<void> => {
        const config = {
          "retention.ms": "1000",
          "segment.ms": "1000",
          "retention.bytes": String(bytes),
        };
        const url = `http://127.0.0.1:${gateway.ports.admin}/v1/admin/topics/positions`;
        const alter = { method: "PATCH", body: JSON.stringify({ config }) };
        expect((await fetch(url, alter)).status).toBeLessThan(300);
      };
      // room for a MiB at least, and for what the drivers send meanwhile
      await retain(Math.max(1, Math.ceil(outageMs / 10_000)) << 20);
      // of a long one the test must remember all
      const pauseMs = outageMs > 30_000 ? 100 : 0;
      const drivers = [...drive(gateway, 4, "r", pauseMs), ...drive(other, 2, "s", pauseMs)];
      // what was taken before goes first: it may be more than the buffer may hold from now on
      const size = (): Promise<number> =>
        gateway.metric('milepost_log_size_bytes{topic="positions"}');
      await expect.poll(size, patiently).toBeLessThan(2_000_000);
      await target.kill();
      await expect
        .poll(async () => (await ready(gateway)).text, patiently)
        .toMatch(/degraded uplink/);
      expect(await statusOf(gateway)).toBe(200);
      const acked = drivers[0].acked.size;
      await sleep(outageMs);
      // the gateway may end meanwhile, and begin without the cluster
      await gateway.kill();
      await gateway.start();
      expect(drivers[0].acked.size).toBeGreaterThan(acked);
      expect(drivers.at(-1)?.acked.size).toBeGreaterThan(0);
      await retain(1 << 20);
      const body = JSON.stringify(Array.from({ length: 1500 }, () => filler));
      const ingest = `http://127.0.0.1:${gateway.ports.device}/v1/ingest?driver=filler`;
      const fill = async (): Promise<number> =>
        (await fetch(ingest, { method: "POST", body })).status;
      await expect.poll(fill, { ...patiently, interval: 1 }).toBe(503);
      await expect
        .poll(async () => (await ready(gateway)).text, patiently)
        .toMatch(/failed log: the buffer of positions is full/);
      await target.start();
      await expect.poll(() => statusOf(gateway), patiently).toBe(200);
      await stopAll(drivers);
      for (const one of [gateway, other]) {
        const lag = (): Promise<number> => one.metric("milepost_uplink_lag_records");
        await expect.poll(lag, patiently).toBe(0);
      }
      expectAll(drivers, await pingsOf(brokers));
    },
    90_000 + 2 * outageMs,
  );

  test("what lives in the cluster is not changed here", async () => {
    const server = ["--server", `127.0.0.1:${gateway.ports.admin}`];
    const refused = [
      ["topics", "create", "mine"],
      ["topics", "alter", "events", "--partitions", "9"],
      ["topics", "delete", "events", "--yes"],
      ["groups", "list"],
    ];
    for (const args of refused) {
      const { code, stderr } = await milepost([...args, ...server]);
      expect([args, code]).toEqual([args, 1]);
      expect(stderr).toContain("the cluster behind the uplink has it");
    }
  });
});

const filler = { ts: Date.now(), lat: 1, lon: 2, note: "x".repeat(100) };
