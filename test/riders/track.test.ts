import { once } from "node:events";
import net from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { caughtUp, get, type Ping, post, send, urlOf } from "./fleet.ts";

const dir: { gateway: Gateway } = { gateway: undefined as never };
const now = Date.now();
const sent: Ping[] = [];
const ofDriver = (id: string): Ping[] => sent.filter((ping) => ping.id === id);

/** Pings of twenty drivers, each with fixes of the last three hours, some of them late. */
function some(count: number): Ping[] {
  return Array.from({ length: count }, () => {
    const n = sent.length;
    const late = n % 37 === 0 ? 1_800_000 : 0;
    const ts = now - 10_800_000 + n * 300 - late;
    const ping = { id: `d${n % 20}`, ts, lat: (n % 80) + 0.5, lon: (n % 170) + 0.25, seq: n };
    sent.push(ping);
    return ping;
  });
}

type Line = Ping & { received: number; offset: number };

async function lines(query: string): Promise<Line[]> {
  const answer = await fetch(urlOf(dir.gateway, `/v1/drivers/${query}`));
  expect(answer.status).toBe(200);
  expect(answer.headers.get("content-type")).toBe("application/x-ndjson");
  return (await answer.text())
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

beforeAll(async () => {
  // small slices: a track goes through several, sealed and not
  dir.gateway = await startGateway();
  const admin = `http://127.0.0.1:${dir.gateway.ports.admin}`;
  const changed = await fetch(`${admin}/v1/admin/topics/positions`, {
    method: "PATCH",
    body: JSON.stringify({ config: { "segment.bytes": "65536" } }),
  });
  expect(changed.status).toBe(200);
  for (let i = 0; i < 10; i++) await post(dir.gateway, some(1000));
  await caughtUp(dir.gateway);
  expect(await dir.gateway.metric("milepost_log_slices")).toBeGreaterThan(12);
});
afterAll(async () => {
  await dir.gateway?.stop();
});

const all = `from=${now - 14_400_000}&to=${now + 1000}`;
const without = ({ received: _, offset: __, ...ping }: Line): Ping => ping;

describe("a track", () => {
  it("is every ping of the driver, in the order of the log", async () => {
    const found = await lines(`d3/track?${all}&format=ndjson`);
    expect(found.map(without)).toEqual(ofDriver("d3"));
    const offsets = found.map(({ offset }) => offset);
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    expect(found.every(({ received }) => received >= now)).toBe(true);
  });

  it("is chosen by fix time, both ends among it", async () => {
    const mine = ofDriver("d7");
    const [from, to] = [mine[100].ts, mine[300].ts];
    const found = await lines(`d7/track?from=${from}&to=${to}&format=ndjson`);
    const model = mine.filter(({ ts }) => ts >= from && ts <= to);
    expect(found.map(without)).toEqual(model);
    expect(model.length).toBeGreaterThan(150);
    const iso = `from=${new Date(from).toISOString()}&to=${new Date(to).toISOString()}`;
    expect((await lines(`d7/track?${iso}&format=ndjson`)).length).toBe(found.length);
  });

  it("is a line as GeoJSON, with times", async () => {
    const { body, headers } = await get(dir.gateway, `/v1/drivers/d5/track?${all}`);
    expect(headers.get("content-type")).toBe("application/geo+json");
    const mine = ofDriver("d5");
    expect(body).toEqual({
      type: "Feature",
      id: "d5",
      geometry: { type: "LineString", coordinates: mine.map(({ lon, lat }) => [lon, lat]) },
      properties: { times: mine.map(({ ts }) => ts) },
    });
  });

  it("is of the last hour unless told otherwise", async () => {
    await send(dir.gateway, [
      { id: "hour", ts: now - 3_700_000, lat: 1, lon: 1 },
      { id: "hour", ts: now - 3_000_000, lat: 2, lon: 2 },
      { id: "hour", ts: now - 1000, lat: 3, lon: 3 },
    ]);
    const { body } = await get(dir.gateway, "/v1/drivers/hour/track");
    expect(body.geometry.coordinates).toEqual([
      [2, 2],
      [3, 3],
    ]);
    const { body: before } = await get(
      dir.gateway,
      `/v1/drivers/hour/track?from=${now - 9_000_000}&to=${now - 8_000_000}`,
    );
    expect([before.geometry.coordinates, before.properties.times]).toEqual([[], []]);
  });

  it("is the same after a kill and a restart", async () => {
    await dir.gateway.kill();
    await dir.gateway.start();
    await send(dir.gateway, some(1000));
    expect((await lines(`d3/track?${all}&format=ndjson`)).map(without)).toEqual(ofDriver("d3"));
  });

  it.each([
    ["nobody/track", 404, "not_found"],
    ["a%2Fb/track", 400, "bad_id"],
    ["d3/track?from=yesterday", 400, "bad_parameter"],
    ["d3/track?from=-5", 400, "bad_parameter"],
    ["d3/track?from=2026-01-01T00:00", 400, "bad_parameter"],
    [`d3/track?from=${now}&to=${now - 1}`, 400, "bad_parameter"],
    [`d3/track?from=${now - 86_400_001}&to=${now}`, 400, "bad_parameter"],
    ["d3/track?from=0", 400, "bad_parameter"],
    ["d3/track?format=csv", 400, "bad_parameter"],
    ["d3/track?form=ndjson", 400, "bad_parameter"],
  ])("%s: %i %s", async (path, status, code) => {
    const answer = await get(dir.gateway, `/v1/drivers/${path}`);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
  });
});

describe("clients that do not read", () => {
  it("get four tracks at once, cost little memory, and are let go", async () => {
    const { gateway } = dir;
    const note = "x".repeat(4000);
    // a track of 24 MB
    const big: Ping[] = Array.from({ length: 6000 }, (_, i) => {
      return { id: "big", ts: now - i, lat: 1, lon: 1, note };
    });
    for (let i = 0; i < big.length; i += 50) await post(gateway, big.slice(i, i + 50));
    await caughtUp(gateway);
    const before = await gateway.metric("process_resident_memory_bytes");
    const sockets = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = net.connect(gateway.ports.http, "127.0.0.1");
        await once(socket, "connect");
        socket.pause();
        const path = `/v1/drivers/big/track?${all}&format=ndjson`;
        socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
        return socket;
      }),
    );
    let refused = await get(gateway, `/v1/drivers/big/track?${all}`);
    for (let i = 0; i < 100 && refused.status !== 429; i++) {
      refused = await get(gateway, `/v1/drivers/big/track?${all}`);
    }
    expect([refused.status, refused.body.error.code]).toEqual([429, "too_many_tracks"]);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    // others are served meanwhile
    expect((await get(gateway, "/v1/drivers/d3")).status).toBe(200);
    const held = (await gateway.metric("process_resident_memory_bytes")) - before;
    expect(held).toBeLessThan(64 * 1024 * 1024);
    // one that reads on gets all of it
    let bytes = 0;
    sockets[0].on("data", (chunk: Buffer) => (bytes += chunk.byteLength));
    sockets[0].resume();
    while (bytes < 6000 * 4000) await new Promise((resolve) => setTimeout(resolve, 20));
    for (const socket of sockets) socket.destroy();
    let again = await get(gateway, `/v1/drivers/d3/track?${all}`);
    while (again.status === 429) again = await get(gateway, `/v1/drivers/d3/track?${all}`);
    expect(again.status).toBe(200);
  });
});
