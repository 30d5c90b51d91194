/** Pings of the protocol; each of these takes as long as the clock does. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, follow, ping, rawRider, RawRider, riderUrl, until } from "./rider.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());

test.concurrent("who does not answer a ping is closed", { timeout: 60_000 }, async () => {
  const raw = await rawRider(gateway);
  expect(raw.lines[0].connect).toMatchObject({ ping: 25, pong: true });
  await until(() => raw.frames.includes("{}"));
  expect(await raw.closed).toEqual({ code: 3012, reason: "no pong" });
});

test.concurrent("who answers stays", { timeout: 60_000 }, async () => {
  const client = centrifuge(gateway);
  const seen = await follow(client, "driver:h");
  const raw = await rawRider(gateway);
  const pings = (): number => raw.frames.filter((frame) => frame === "{}").length;
  await until(() => pings() === 1);
  raw.socket.send("{}");
  await until(() => pings() === 2);
  await ping(gateway, { id: "h", seq: 1 });
  await until(() => seen.seqs.includes(1));
  expect(raw.socket.readyState).toBe(raw.socket.OPEN);
  expect(seen.recoveries).toHaveLength(1);
  raw.socket.close();
  client.disconnect();
});

test.concurrent("who never says connect is closed", { timeout: 60_000 }, async () => {
  const raw = await new RawRider(riderUrl(gateway)).opened();
  expect(await raw.closed).toEqual({ code: 3502, reason: "stale" });
});
