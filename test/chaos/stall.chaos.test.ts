/** A gateway that stood still, and a fleet that comes back all at once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import {
  ACCEPTED,
  connect,
  packet,
  ping,
  PINGREQ,
  publish,
  Raw,
  str,
  subscribe,
} from "../listeners/mqtt/bytes.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--workers", "2"] });
});
afterAll(() => gateway.stop());

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("SIGSTOP for longer than the keep-alive expires nobody", async () => {
  const raw = await Raw.open(gateway.ports.mqtt);
  raw.send(connect({ id: "still", keepAlive: 2 }));
  expect(await raw.take(4)).toBe(ACCEPTED);
  process.kill(gateway.pid, "SIGSTOP");
  raw.send(publish("fleet/still/position", ping("still"), 1, 1));
  await sleep(7000);
  process.kill(gateway.pid, "SIGCONT");
  expect(await raw.take(4)).toBe("40020001");
  raw.send(PINGREQ);
  expect(await raw.take(2)).toBe("d000");
  raw.end();
});

test("a silent client is closed after one and a half times its keep-alive", async () => {
  const raw = await Raw.open(gateway.ports.mqtt);
  raw.send(connect({ id: "silent", keepAlive: 1 }));
  expect(await raw.untilClose()).toBe(ACCEPTED);
});

test("a connection that says nothing is closed", async () => {
  const raw = await Raw.open(gateway.ports.mqtt);
  raw.send([0x10]);
  expect(await raw.untilClose()).toBe("");
}, 25_000);

test("a connection that drips its CONNECT is closed as if it said nothing", async () => {
  const raw = await Raw.open(gateway.ports.mqtt);
  raw.send([0x10, 0x7f]);
  const drip = setInterval(() => raw.send([0]), 1000);
  expect(await raw.untilClose()).toBe("");
  clearInterval(drip);
}, 25_000);

test("2 000 drivers reconnect at once, twice, each with a ping behind its CONNECT", async () => {
  const ids = Array.from({ length: 2000 }, (_, i) => `herd-${i}`);
  for (let round = 1; round <= 2; round++) {
    const sockets = await Promise.all(ids.map(() => Raw.open(gateway.ports.mqtt)));
    const acks = await Promise.all(
      sockets.map((raw, i) => {
        const id = ids[i];
        return raw
          .send(connect({ id }), publish(`fleet/${id}/position`, ping(id), 1, round))
          .take(8);
      }),
    );
    expect(new Set(acks)).toEqual(new Set([`${ACCEPTED}4002000${round}`]));
    if (round === 2) for (const raw of sockets) raw.end();
  }
  await expect.poll(() => gateway.metric("milepost_connections", "mqtt")).toBe(0);
});

test("a subscriber that does not read holds up nobody: bounded memory, QoS 0 dropped", async () => {
  const port = gateway.ports.mqtt;
  const frozen = await Raw.open(port);
  frozen.send(connect({ id: "frozen" }), subscribe(1, ["chat/#", 0]));
  expect(await frozen.take(9)).toBe(`${ACCEPTED}9003000100`);
  frozen.freeze();
  const reader = await Raw.open(port);
  reader.send(connect({ id: "reader" }), subscribe(1, ["chat/end", 1]));
  expect(await reader.take(9)).toBe(`${ACCEPTED}9003000101`);

  const talker = await Raw.open(port);
  talker.send(connect({ id: "talker" }));
  expect(await talker.take(4)).toBe(ACCEPTED);
  const big = "x".repeat(60_000);
  for (let i = 1; i <= 400; i++) {
    talker.send(publish("chat/room", big, 1, i));
    expect(await talker.take(4)).toBe(`4002${i.toString(16).padStart(4, "0")}`);
  }
  talker.send(publish("chat/end", "bye", 1, 999));
  talker.send(publish("fleet/talker/position", ping("talker"), 1, 1000));
  expect(await talker.take(8)).toBe("400203e7400203e8");
  const end = packet(0x32, str("chat/end"), [0, 1], "bye");
  expect((await reader.take(end.length)).slice(-6)).toBe(Buffer.from("bye").toString("hex"));
  expect(await gateway.metric("milepost_broker_dropped_total", "qos0")).toBeGreaterThan(0);
  expect(await gateway.metric("milepost_resident_memory_bytes")).toBeLessThan(600 * 1024 * 1024);
  frozen.end();
  reader.end();
  talker.end();
});
