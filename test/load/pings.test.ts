import { type AddressInfo, createServer } from "node:net";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { Aedes } from "aedes";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { build } from "../../load/build.ts";
import { DriverMemory } from "../../src/codec/driver-memory.ts";
import { Frame } from "../../src/codec/frame.ts";
import { PingReader } from "../../src/codec/ping.ts";

const run = promisify(execFile);
const built = build("devices");

/** Each ping must be stored as it came: accepted, no flag, the very same bytes. */
function expectCanonical(bodies: Buffer[], perBody: number): void {
  const reader = new PingReader();
  const frame = new Frame();
  const memory = new DriverMemory();
  const identity = Buffer.from("d000000");
  const seqs: number[] = [];
  for (const body of bodies) {
    expect(frame.split(body, 0, body.length, false)).toBe(null);
    expect(frame.count).toBe(perBody);
    for (let i = 0; i < frame.count; i++) {
      const own = [frame.starts[i], frame.ends[i]];
      reader.read(frame.bytes, own[0], own[1], Date.now(), identity, memory);
      expect(reader.reason).toBe(null);
      expect(reader.flags).toBe(0);
      expect(reader.value).toBe(frame.bytes);
      expect([reader.valueStart, reader.valueEnd]).toEqual(own);
      seqs.push(JSON.parse(body.toString("utf8", own[0], own[1])).seq);
    }
  }
  expect(seqs.length).toBeGreaterThan(100);
  expect(seqs).toEqual(seqs.map((_, i) => seqs[0] + i));
}

describe.skipIf("missing" in built)("what the generator sends", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  async function send(to: string, port: number, pings: number): Promise<void> {
    const { path } = built as { path: string };
    const load = ["--devices", "1", "--rate", "200", "--warm", "0", "--seconds", "1"];
    await run(path, ["--to", to, "--port", `${port}`, "--pings", `${pings}`, ...load]);
  }

  it.each([1, 5])("canonical pings over WebSocket, %i in a frame", async (pings) => {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    closers.push(() => server.close());
    const frames: Buffer[] = [];
    server.on("connection", (socket) => {
      socket.on("message", (data) => {
        frames.push(data as Buffer);
        socket.send("taken");
      });
    });
    await once(server, "listening");
    await send("echo", (server.address() as AddressInfo).port, pings);
    expectCanonical(frames, pings);
  });

  it.each([1, 5])("canonical pings over MQTT, %i in a message", async (pings) => {
    const broker = await Aedes.createBroker();
    const server = createServer(broker.handle).listen(0, "127.0.0.1");
    closers.push(
      () => server.close(),
      () => broker.close(),
    );
    const payloads: Buffer[] = [];
    broker.on("publish", (packet, client) => {
      if (client === null) return;
      expect(packet.topic).toBe("fleet/d000000/position");
      payloads.push(packet.payload as Buffer);
    });
    await once(server, "listening");
    await send("mqtt", (server.address() as AddressInfo).port, pings);
    expectCanonical(payloads, pings);
  });
});
