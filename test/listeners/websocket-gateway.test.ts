import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { dump, startGateway, type Dumped, type Gateway } from "../harness/gateway.ts";

type Ack = { ack: number; accepted: number; rejected: unknown[]; p: ([number, number] | null)[] };
type Nack = { nack: number; reason: string; retryAfter: number };

class Device {
  readonly ws: WebSocket;
  readonly replies: (Ack & Nack)[] = [];
  readonly closed: Promise<number>;

  constructor(gateway: Gateway, driver: string) {
    this.ws = new WebSocket(
      `ws://127.0.0.1:${gateway.ports.device}/v1/ingest?driver=${encodeURIComponent(driver)}`,
    );
    this.ws.on("message", (data) => this.replies.push(JSON.parse(String(data))));
    this.ws.on("error", () => {});
    this.closed = new Promise((resolve) => this.ws.on("close", resolve));
  }

  async replied(count: number): Promise<void> {
    while (this.replies.length < count && this.ws.readyState !== WebSocket.CLOSED) {
      await Promise.race([once(this.ws, "message"), this.closed]);
    }
  }
}

const dirs: string[] = [];
afterAll(() => {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true });
});

function freshDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "milepost-ws-"));
  dirs.push(dir);
  return dir;
}

const pingOf = (seq: number): string =>
  JSON.stringify({ ts: Date.now(), lat: 12.9, lon: 77.6, seq });
const seqOf = (record: Dumped): number => JSON.parse(record.value ?? "{}").seq;

describe("WebSocket and HTTP into a real log", () => {
  it("acknowledges what the log then holds at that place, and drains on SIGTERM", async () => {
    const dataDir = freshDir();
    const gateway = await startGateway({ dataDir, args: ["--workers", "2"] });
    const devices = Array.from({ length: 6 }, (_, i) => new Device(gateway, `driver ${i}`));
    await Promise.all(devices.map(({ ws }) => once(ws, "open")));
    for (let n = 0; n < 50; n++) {
      for (const { ws } of devices) {
        ws.send(n % 5 === 4 ? `[${pingOf(n)},{"lat":91},${pingOf(n + 0.5)}]` : pingOf(n));
      }
    }
    await Promise.all(devices.map((device) => device.replied(50)));
    const url = `http://127.0.0.1:${gateway.ports.device}`;
    const location = { _type: "location", lat: 1, lon: 2, tst: Math.floor(Date.now() / 1000) };
    const answers = await Promise.all([
      fetch(`${url}/v1/ingest?driver=h`, { method: "POST", body: `${pingOf(1)}\n${pingOf(2)}` }),
      fetch(`${url}/pub?u=ann&d=phone`, { method: "POST", body: JSON.stringify(location) }),
      fetch(`${url}/pub?u=ann&d=phone`, { method: "POST", body: '{"_type":"lwt"}' }),
      fetch(`${url}/osmand?id=o&lat=1&lon=2&timestamp=${Date.now()}&speed=10`),
      fetch(`${url}/osmand?id=o&lat=x&lon=2&timestamp=${Date.now()}`),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(await answers[0].json()).toEqual({ accepted: 2, rejected: [] });

    expect(await gateway.end("SIGTERM")).toBe(0);
    for (const { replies, closed } of devices) {
      expect(await closed).toBe(1013);
      expect(replies.at(-1)).toMatchObject({ nack: 51, reason: "draining" });
    }
    const positions = await dump(dataDir, "positions");
    const at = new Map(positions.map((r) => [`${r.partition}/${r.offset}`, r]));
    for (const [i, { replies }] of devices.entries()) {
      for (const [n, { ack, rejected, p }] of replies.slice(0, 50).entries()) {
        expect(ack).toBe(n + 1);
        const isArray = n % 5 === 4;
        expect(rejected).toEqual(isArray ? [{ i: 1, reason: "bad_position" }] : []);
        const places = p.filter((place) => place !== null);
        expect(p.length - places.length).toBe(rejected.length);
        const records = places.map(([partition, offset]) => at.get(`${partition}/${offset}`));
        expect(records.map((record) => record?.key)).toEqual(places.map(() => `driver ${i}`));
        expect(seqOf(records[0] as Dumped)).toBe(n);
      }
    }
    const keys = positions.map(({ key }) => key);
    expect(keys.filter((key) => key === "h").length).toBe(2);
    expect(keys).toContain("ann:phone");
    expect(keys).toContain("o");
    const rejects = await dump(dataDir, "rejects");
    expect(rejects.length).toBe(61);
    const byHttp = rejects.filter(({ headers }) => headers.some(([, value]) => value === "http"));
    expect(byHttp.map(({ key, headers }) => [key, headers])).toEqual([
      [
        "o",
        [
          ["reason", "bad_position"],
          ["transport", "http"],
          ["driver", "o"],
        ],
      ],
    ]);
    const events = await dump(dataDir, "events");
    expect(events.map(({ key, value }) => [key, value])).toEqual([
      ["ann:phone", '{"_type":"lwt"}'],
    ]);
  });

  it("keeps a driver's order through takeovers across workers, acks through a kill", async () => {
    const dataDir = freshDir();
    const gateway = await startGateway({ dataDir, args: ["--workers", "3"] });
    let seq = 0;
    const acked: { place: [number, number]; seq: number }[] = [];
    let last: Device | null = null;
    for (let round = 0; round < 20; round++) {
      const device = new Device(gateway, "d1");
      await once(device.ws, "open");
      const first = seq;
      for (let i = 0; i < 20; i++) device.ws.send(pingOf(seq++));
      // the one before was taken over: its acks are done before the new one is read
      if (last !== null) expect(await last.closed).toBe(4001);
      await device.replied(20);
      for (const [i, { p }] of device.replies.entries()) {
        if (p?.[0]) acked.push({ place: p[0], seq: first + i });
      }
      last = device;
    }
    expect(acked.length).toBe(400);
    await gateway.kill();
    const positions = await dump(dataDir, "positions");
    const at = new Map(positions.map((r) => [`${r.partition}/${r.offset}`, r]));
    for (const { place, seq: sent } of acked) {
      expect(seqOf(at.get(place.join("/")) as Dumped)).toBe(sent);
    }
    expect(positions.map(seqOf)).toEqual(Array.from({ length: 400 }, (_, i) => i));
  });
});
