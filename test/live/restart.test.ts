import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";

async function send(gateway: Gateway, ts: number, count: number): Promise<void> {
  const pings = Array.from({ length: count }, (_, i) => ({
    id: `d${i}`,
    ts,
    lat: 1,
    lon: i / 100,
  }));
  const answer = await fetch(`http://127.0.0.1:${gateway.ports.device}/v1/ingest`, {
    method: "POST",
    body: pings.map((ping) => JSON.stringify(ping)).join("\n"),
  });
  expect(answer.status).toBe(200);
}

async function lastOf(gateway: Gateway, id: string): Promise<unknown> {
  const answer = await fetch(`http://127.0.0.1:${gateway.ports.http}/v1/drivers/${id}`);
  if (answer.status !== 200) return answer.status;
  return ((await answer.json()) as { properties: { ts: unknown } }).properties.ts;
}

const patient = { timeout: 20_000 };

const TIMEOUT_MS = 120_000;

test(
  "last positions are served at once after a stop, all after a kill",
  async () => {
    const gateway = await startGateway();
    onTestFinished(async () => void (await gateway.stop()));
    const now = Date.now();
    await send(gateway, now - 2000, 1000);
    await expect.poll(() => lastOf(gateway, "d999"), patient).toBe(now - 2000);
    await gateway.end("SIGTERM");
    const path = join(gateway.dataDir, "live", "positions.checkpoint");
    expect(existsSync(path)).toBe(true);
    await gateway.start();
    // the first question it is asked
    expect(await lastOf(gateway, "d500")).toBe(now - 2000);
    expect(await gateway.metric("milepost_live_pings_total")).toBe(0);
    await send(gateway, now - 1000, 700);
    await expect.poll(() => lastOf(gateway, "d699"), patient).toBe(now - 1000);
    const checkpoint = readFileSync(path);
    await gateway.kill();
    expect(readFileSync(path).equals(checkpoint)).toBe(true);
    await gateway.start();
    expect(await lastOf(gateway, "d999")).toBe(now - 2000);
    await expect.poll(() => lastOf(gateway, "d699"), patient).toBe(now - 1000);
    expect(await gateway.metric("milepost_live_pings_total")).toBe(700);
  },
  TIMEOUT_MS,
);
