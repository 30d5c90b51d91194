/** What no WebSocket client sends: bytes as they are. Others notice nothing. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { clientFrame, RawConnection, upgradeRequest } from "../listeners/device-port.ts";
import { rawRider, until } from "./rider.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());

const path = "/connection/websocket";
const fin = 0x80;
const text = 0x1;
const close = 0x8;
const ping = 0x9;
const connect = '{"id":1,"connect":{}}';

async function connection(): Promise<RawConnection> {
  const raw = await RawConnection.open(gateway.ports.http);
  raw.send(upgradeRequest(path).replace("Host: gateway", "Host: 127.0.0.1"));
  await raw.until((seen) => seen.includes("\r\n\r\n"));
  raw.clear();
  return raw;
}

test.each<[string, Uint8Array]>([
  ["RSV1 without an extension", clientFrame(fin | 0x40 | text, connect)],
  ["RSV2", clientFrame(fin | 0x20 | text, connect)],
  ["RSV3", clientFrame(fin | 0x10 | text, connect)],
  ["opcode 3", clientFrame(fin | 0x3, connect)],
  ["opcode 0xB", clientFrame(fin | 0xb, connect)],
  ["a fragmented ping", clientFrame(ping, "a")],
  ["a ping of 126 bytes", clientFrame(fin | ping, Buffer.alloc(126))],
  ["a continuation of nothing", clientFrame(fin, connect)],
  ["a text in a text", Buffer.concat([clientFrame(text, "{"), clientFrame(fin | text, connect)])],
  ["invalid UTF-8", clientFrame(fin | text, Buffer.from([0x22, 0xc3, 0x28, 0x22]))],
  ["a close code of 5", clientFrame(fin | close, Buffer.from([0, 5]))],
  ["a close reason that is no UTF-8", clientFrame(fin | close, Buffer.from([3, 0xe8, 0xc3, 0x28]))],
  ["a length of 2^63", Buffer.from([0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
  ["a length of 4 GiB", Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
])("%s", async (_, bytes) => {
  const bystander = await rawRider(gateway);
  const raw = await connection();
  raw.send(bytes);
  expect(await raw.closed()).not.toContain(`"connect"`);
  bystander.send({ id: 2, ping: {} });
  await bystander.reply(2);
  bystander.socket.close();
});

test("pings that nobody reads the answers of end the connection", { timeout: 60_000 }, async () => {
  const raw = await connection();
  raw.send(clientFrame(fin | text, connect));
  await raw.until((seen) => seen.includes("}"));
  raw.socket.pause();
  const pings = Buffer.concat(Array(10_000).fill(clientFrame(fin | ping, "x".repeat(125))));
  const closes = () => gateway.metric("milepost_stream_errors_total", `code="3008"`);
  let sent = 0;
  while ((await closes()) === 0 && sent < 4 * limits.riderUnsentBytesHardMax) {
    if (!raw.socket.destroyed) raw.send(pings);
    sent += pings.byteLength;
    await until(() => raw.socket.destroyed || raw.socket.writableLength < pings.byteLength);
  }
  expect(await closes()).toBe(1);
  raw.destroy();
});

test("resets in the middle of upgrades leave nothing behind", async () => {
  const request = upgradeRequest(path).replace("Host: gateway", "Host: 127.0.0.1");
  for (let i = 0; i < 100; i++) {
    const raw = await RawConnection.open(gateway.ports.http);
    raw.send(request.slice(0, 20 + i * 2));
    if (i % 2 === 0) raw.socket.resetAndDestroy();
    else raw.destroy();
  }
  const raw = await connection();
  raw.send(clientFrame(fin | text, connect));
  expect(await raw.until((seen) => seen.includes("}"))).toContain(`"ping":25,"pong":true`);
  await until(async () => (await gateway.metric("milepost_stream_clients")) === 1);
  raw.destroy();
});
