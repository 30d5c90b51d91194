import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { limits } from "../../src/model/limits.ts";
import {
  clientFrame,
  metric,
  openDevicePort,
  RawConnection,
  rawWebSocket,
  upgradeRequest,
  type DevicePort,
} from "./device-port.ts";

let gateway: DevicePort;
beforeEach(async () => {
  gateway = await openDevicePort();
});
afterEach(() => gateway.close());

const fin = 0x80;
const text = 0x1;
const close = 0x8;
const ping = 0x9;
const good = '{"lat":1}';
const ack1 = '{"ack":1,';

/** Sent as they are: the connection ends and nothing is taken. */
const rows: [string, Uint8Array][] = [
  ["RSV1 without an extension", clientFrame(fin | 0x40 | text, good)],
  ["RSV2", clientFrame(fin | 0x20 | text, good)],
  ["RSV3", clientFrame(fin | 0x10 | text, good)],
  ["opcode 3", clientFrame(fin | 0x3, good)],
  ["opcode 0xB", clientFrame(fin | 0xb, good)],
  ["a fragmented ping", clientFrame(ping, "a")],
  ["a ping of 126 bytes", clientFrame(fin | ping, Buffer.alloc(126))],
  ["a continuation of nothing", clientFrame(fin, good)],
  ["a text inside a text", Buffer.concat([clientFrame(text, "["), clientFrame(fin | text, good)])],
  ["invalid UTF-8", clientFrame(fin | text, Buffer.from([0x22, 0xc3, 0x28, 0x22]))],
  ["a lone surrogate", clientFrame(fin | text, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))],
  ["a close code of 5", clientFrame(fin | close, Buffer.from([0, 5]))],
  ["a close payload of one byte", clientFrame(fin | close, Buffer.from([3]))],
  ["a close reason that is no UTF-8", clientFrame(fin | close, Buffer.from([3, 0xe8, 0xc3, 0x28]))],
  ["a length of 2^63", Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
  ["a length of 4 GiB", Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
];

describe("frames against RFC 6455", () => {
  it.each(rows)("%s", async (_, bytes) => {
    const bystander = await rawWebSocket(gateway.port);
    const connection = await rawWebSocket(gateway.port);
    connection.send(bytes);
    await connection.closed();
    expect(gateway.intake.taken).toEqual([]);
    bystander.send(clientFrame(fin | text, good));
    expect(await bystander.until((seen) => seen.includes("}"))).toContain(ack1);
    bystander.destroy();
  });

  it("answers what came before the bad frame in the same read", async () => {
    gateway.intake.holding = true;
    const connection = await rawWebSocket(gateway.port);
    connection.send(Buffer.concat([clientFrame(fin | text, good), clientFrame(fin | 0x3, good)]));
    await connection.closed();
    expect(gateway.intake.taken.length).toBe(1);
    gateway.intake.letGo(1);
    await gateway.app.drain("draining");
  });

  // uWS takes every client frame for masked, so an unmasked one is read out of step
  it("never takes an unmasked frame for what it says", async () => {
    const connection = await rawWebSocket(gateway.port);
    const unmasked = Buffer.concat([Buffer.from([0x81, good.length]), Buffer.from(good)]);
    for (let i = 0; i < 50; i++) connection.send(unmasked);
    const bystander = await rawWebSocket(gateway.port);
    bystander.send(clientFrame(fin | text, good));
    await bystander.until((seen) => seen.includes("}"));
    expect(gateway.intake.taken.filter((taken) => taken.text === good).length).toBe(1);
    connection.destroy();
    bystander.destroy();
  });

  it("counts what uWS closes by itself", async () => {
    const connection = await rawWebSocket(gateway.port);
    connection.send(clientFrame(fin | 0x3, good));
    await connection.closed();
    const labels = { transport: "ws", reason: "protocol" };
    expect(metric(gateway.registry, "milepost_connections_closed_total", labels)).toBe(1);
  });
});

describe("floods", () => {
  async function flood(connection: RawConnection, frame: Buffer, count: number): Promise<void> {
    const chunk = Buffer.concat(Array(1000).fill(frame));
    for (let i = 0; i < count / 1000 && !connection.isClosed; i++) {
      connection.send(chunk);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it("keeps no memory for a million empty continuations", async () => {
    const connection = await rawWebSocket(gateway.port);
    connection.send(clientFrame(text, ""));
    const before = process.memoryUsage().rss;
    await flood(connection, clientFrame(0, ""), 1_000_000);
    connection.send(clientFrame(fin, good));
    expect(await connection.until((seen) => seen.includes("}"))).toContain(ack1);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    connection.destroy();
  });

  it("cuts a message of endless small fragments at its size", async () => {
    const connection = await rawWebSocket(gateway.port);
    connection.send(clientFrame(text, ""));
    await flood(connection, clientFrame(0, "xxxxxxxx"), 400_000);
    await connection.closed();
    expect(gateway.intake.taken).toEqual([]);
  });

  it("tells who is a little over the limit, fragments or not", async () => {
    const half = "x".repeat(limits.frameBytesMax / 2);
    const connection = await rawWebSocket(gateway.port);
    connection.send(clientFrame(text, half)).send(clientFrame(0, half));
    connection.send(clientFrame(fin, "x"));
    const seen = await connection.closed();
    expect(Buffer.from(seen, "latin1").subarray(0, 4)).toEqual(
      Buffer.from([0x88, 2 + "too large".length, 1009 >> 8, 1009 & 0xff]),
    );
  });

  it("drops pongs that nobody reads", async () => {
    const connection = await rawWebSocket(gateway.port);
    connection.socket.pause();
    const before = process.memoryUsage().rss;
    await flood(connection, clientFrame(fin | ping, "x".repeat(100)), 200_000);
    const bystander = await rawWebSocket(gateway.port);
    bystander.send(clientFrame(fin | text, good));
    await bystander.until((seen) => seen.includes("}"));
    expect(process.memoryUsage().rss - before).toBeLessThan(96 * 1024 * 1024);
    connection.destroy();
    bystander.destroy();
  });
});

describe("handshakes", () => {
  it("does not upgrade without a proper key", async () => {
    for (const key of ["", "abc", "x".repeat(200)]) {
      const connection = await RawConnection.open(gateway.port);
      connection.send(
        upgradeRequest("/v1/ingest").replace(
          /Sec-WebSocket-Key: [^\r]+/,
          `Sec-WebSocket-Key: ${key}`,
        ),
      );
      expect(await connection.until((seen) => seen.includes("}"))).toMatch(/^HTTP\/1\.1 4/);
      connection.destroy();
    }
  });

  it("survives resets in the middle of upgrades", async () => {
    for (let i = 0; i < 100; i++) {
      const connection = await RawConnection.open(gateway.port);
      connection.send(upgradeRequest("/v1/ingest?driver=d1").slice(0, 20 + i * 2));
      if (i % 2 === 0) connection.socket.resetAndDestroy();
      else connection.destroy();
    }
    const connection = await rawWebSocket(gateway.port, "/v1/ingest?driver=d1");
    connection.send(clientFrame(fin | text, good));
    expect(await connection.until((seen) => seen.includes("}"))).toContain(ack1);
    const count = (transport: string): number =>
      metric(gateway.registry, "milepost_connections", { transport });
    while (count("http") !== 0 || count("ws") !== 1) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    connection.destroy();
  });
});
