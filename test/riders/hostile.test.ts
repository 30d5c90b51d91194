/** What no client sends by mistake, a row each: what it is told, and that others notice nothing. */
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, follow, ping, rawRider, RawRider, riderUrl, until } from "./rider.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--allow-origin", "https://rides.example"] });
});
afterAll(() => gateway.stop());

const badRequest = { code: 3501, reason: "bad request" };
const subscribe = (fields: unknown): string => JSON.stringify({ id: 2, subscribe: fields });

const deep = `{"id":2,"subscribe":${"[".repeat(50_000)}`;

test.each<[why: string, frame: string | Buffer]>([
  ["nothing at all", ""],
  ["no JSON", "hello"],
  ["half of it", `{"id":2,"ping":{}`],
  ["an empty line between commands", `{"id":2,"ping":{}}\n\n{"id":3,"ping":{}}`],
  ["a number", "7"],
  ["null", "null"],
  ["an array of commands", `[{"id":2,"ping":{}}]`],
  ["arrays in arrays", deep],
  ["no id", `{"ping":{}}`],
  ["id 0", `{"id":0,"subscribe":{"channel":"driver:a"}}`],
  ["an id below 0", `{"id":-1,"ping":{}}`],
  ["half an id", `{"id":1.5,"ping":{}}`],
  ["an id of 33 bits", `{"id":4294967296,"ping":{}}`],
  ["an id that is text", `{"id":"2","ping":{}}`],
  ["an id and nothing else", `{"id":2}`],
  ["a command of no protocol", `{"id":2,"shutdown":{}}`],
  ["a prototype for a command", `{"id":2,"__proto__":{"rpc":{}}}`],
  ["a command that is null", `{"id":2,"subscribe":null}`],
  ["a command that is text", `{"id":2,"connect":"x"}`],
  ["connect twice", `{"id":2,"connect":{}}`],
  ["a channel that is a number", subscribe({ channel: 7 })],
  ["recover that is text", subscribe({ channel: "driver:a", recover: "yes" })],
  ["an offset below 0", subscribe({ channel: "driver:a", recover: true, offset: -1 })],
  ["an offset above 2^53", subscribe({ channel: "driver:a", recover: true, offset: 2 ** 53 })],
  ["an epoch that is a number", subscribe({ channel: "driver:a", recover: true, epoch: 1 })],
  ["a limit that is text", `{"id":2,"history":{"channel":"driver:a","limit":"9"}}`],
  ["Protobuf", Buffer.from([0x0b, 0x08, 0x02, 0x22, 0x07, 0x0a, 0x05, 0x64, 0x3a, 0x31])],
  ["no UTF-8", Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
])("%s closes the connection", async (_, frame) => {
  const raw = await rawRider(gateway);
  raw.socket.send(frame);
  expect(await raw.closed).toEqual(badRequest);
});

test("commands before connect close the connection", async () => {
  for (const command of [{ id: 1, subscribe: { channel: "driver:a" } }, {}, { send: {} }]) {
    const raw = await new RawRider(riderUrl(gateway)).opened();
    raw.send(command);
    expect(await raw.closed).toEqual(badRequest);
  }
});

test("JSON in a binary frame is as good as text", async () => {
  const raw = await rawRider(gateway);
  raw.socket.send(Buffer.from(`{"id":2,"ping":{}}\n`), { binary: true });
  expect(await raw.reply(2)).toEqual({ id: 2, ping: {} });
  raw.socket.close();
});

test("a frame that is too large", async () => {
  const raw = await rawRider(gateway);
  raw.socket.send(" ".repeat(limits.riderFrameBytesMax + 1));
  expect(await raw.closed).toEqual({ code: 1009, reason: "message too large" });
});

test.each<[why: string, fields: Record<string, unknown>, code: number, message: string]>([
  ["no channel", {}, 102, "unknown channel"],
  ["a kind that is not", { channel: "truck:7" }, 102, "unknown channel"],
  ["no kind", { channel: "driver" }, 102, "unknown channel"],
  ["a prototype", { channel: "__proto__" }, 102, "unknown channel"],
  ["another plane", { channel: "fleet/7/position" }, 102, "unknown channel"],
  ["nobody", { channel: "driver:" }, 107, "bad request"],
  ["a wildcard", { channel: "driver:#" }, 107, "bad request"],
  ["an id too long", { channel: `driver:${"x".repeat(129)}` }, 107, "bad request"],
  ["a lone surrogate", { channel: "trip:\ud800" }, 107, "bad request"],
  ["a cell that is not one", { channel: "cell:861892b37ffffff0" }, 107, "bad request"],
  ["a cell of a mode that is not", { channel: "cell:ffffffffffffffff" }, 107, "bad request"],
  ["a cell too large", { channel: "cell:80dbfffffffffff" }, 107, "bad request"],
  ["a box of three", { channel: "bbox:1,2,3" }, 107, "bad request"],
  ["a box upside down", { channel: "bbox:1,2,3,1" }, 107, "bad request"],
  ["a box off the earth", { channel: "bbox:-181,0,1,1" }, 107, "bad request"],
  ["no numbers", { channel: "bbox:NaN,Infinity,1e999,0x1" }, 107, "bad request"],
  ["an interval below 0", { channel: "driver:a", data: { interval: -1 } }, 107, "bad request"],
  ["an interval of text", { channel: "driver:a", data: { interval: "1" } }, 107, "bad request"],
  ["an endless interval", { channel: "driver:a", data: { interval: 3.7e6 } }, 107, "bad request"],
  ["a mode that is not", { channel: "driver:a", data: { recovery: "all" } }, 107, "bad request"],
  ["data that is text", { channel: "driver:a", data: "interval" }, 107, "bad request"],
])("to follow %s is refused", async (_, fields, code, message) => {
  const raw = await rawRider(gateway);
  const before = await gateway.metric("milepost_stream_errors_total", `code="${code}"`);
  raw.send({ id: 2, subscribe: fields }, { id: 3, ping: {} });
  await raw.reply(3);
  expect(raw.lines[1]).toEqual({ id: 2, error: { code, message, temporary: false } });
  expect(await gateway.metric("milepost_stream_errors_total", `code="${code}"`)).toBe(before + 1);
  raw.socket.close();
});

test("commands that nothing is offered for", async () => {
  const raw = await rawRider(gateway);
  const names = ["publish", "presence", "presence_stats", "rpc", "send", "refresh", "sub_refresh"];
  raw.send(...names.map((name, i) => ({ id: i + 2, [name]: { channel: "driver:a" } })), {
    send: { data: 1 },
  });
  raw.send({ id: 20, history: { channel: "trip:t", limit: 1 } });
  raw.send({ id: 21, unsubscribe: { channel: "driver:never" } });
  await raw.reply(21);
  const codes = raw.lines.slice(1).map(({ id, error }) => [id, error?.code]);
  expect(codes).toEqual([...names.map((_, i) => [i + 2, 108]), [20, 108], [21, undefined]]);
  raw.socket.close();
});

test("thousands of subscriptions: the first are taken", async () => {
  const raw = await rawRider(gateway);
  const max = limits.riderSubscriptionsMax;
  for (let at = 0; at < 3000; at += 1000) {
    raw.send(
      ...Array.from({ length: 1000 }, (_, i) => {
        return { id: 2 + at + i, subscribe: { channel: `driver:many-${at + i}` } };
      }),
    );
  }
  await raw.reply(3001);
  const [taken, refused] = [raw.lines.filter((l) => l.subscribe), raw.lines.filter((l) => l.error)];
  expect(taken.map(({ id }) => id)).toEqual(Array.from({ length: max }, (_, i) => i + 2));
  expect(refused).toHaveLength(3000 - max);
  expect(new Set(refused.map(({ error }) => error.code))).toEqual(new Set([106]));
  expect(await gateway.metric("milepost_live_channels")).toBe(max);
  raw.socket.terminate();
  await until(async () => (await gateway.metric("milepost_live_channels")) === 0);
});

test("a box with too many drivers, and one that fills", async () => {
  const max = limits.boxDriversMax;
  const crowd = Array.from({ length: max }, (_, i) => ({ id: `crowd${i}`, lat: -40, lon: -40 }));
  for (let at = 0; at < max; at += 1000) await ping(gateway, ...crowd.slice(at, at + 1000));
  await until(async () => (await gateway.metric("milepost_live_drivers")) >= max);
  const raw = await rawRider(gateway);
  raw.send({ id: 2, subscribe: { channel: "bbox:-41,-41,-39,-39" } });
  expect((await raw.reply(2)).subscribe.publications).toHaveLength(max);
  await ping(gateway, { id: "one-more", lat: -40, lon: -40 });
  await until(() => raw.lines.some(({ push }) => push?.unsubscribe));
  const { unsubscribe } = raw.lines.at(-1)?.push ?? {};
  expect(unsubscribe).toEqual({ code: 2500, reason: "insufficient state" });
  raw.send({ id: 3, subscribe: { channel: "bbox:-41,-41,-39,-39" } });
  expect((await raw.reply(3)).error).toMatchObject({ code: 106, message: "limit exceeded" });
  raw.send({ id: 4, subscribe: { channel: "bbox:-180,-90,180,90" } });
  expect((await raw.reply(4)).error).toMatchObject({ code: 106 });
  raw.socket.close();
});

test.each<[why: string, headers: Record<string, string>, status: number]>([
  ["a page from elsewhere", { Origin: "https://elsewhere.example" }, 403],
  ["a page with no origin", { Origin: "null" }, 403],
  [
    "a name that was pointed here",
    { Host: "rebound.example", Origin: "http://rebound.example" },
    403,
  ],
  ["another version", { "Sec-WebSocket-Version": "8" }, 426],
  ["two ways to frame a body", { "Content-Length": "0", "Transfer-Encoding": "chunked" }, 400],
  ["a body", { "Content-Length": "5" }, 400],
])("%s is turned away", async (_, headers, status) => {
  expect(await upgradeStatus(headers)).toBe(status);
});

test("pages of our own and of allowed origins are let in", async () => {
  const host = `localhost:${gateway.ports.http}`;
  expect(await upgradeStatus({ Host: host, Origin: `http://${host}` })).toBe(101);
  expect(await upgradeStatus({ Origin: "https://rides.example" })).toBe(101);
});

test("nobody else noticed any of this", async () => {
  const client = centrifuge(gateway);
  const seen = await follow(client, "driver:calm");
  const raw = await rawRider(gateway);
  raw.socket.send("nonsense");
  await raw.closed;
  await ping(gateway, { id: "calm", seq: 1 });
  await until(() => seen.seqs.includes(1));
  client.disconnect();
  await until(async () => (await gateway.metric("milepost_stream_clients")) === 0);
});

/** Of the answer to an upgrade with these headers instead of a client's own. */
function upgradeStatus(headers: Record<string, string>): Promise<number> {
  const all = {
    Host: `127.0.0.1:${gateway.ports.http}`,
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  };
  return new Promise((resolve, reject) => {
    const socket = connect(gateway.ports.http, "127.0.0.1");
    socket.on("error", reject);
    socket.on("data", (data) => {
      resolve(Number(String(data).split(" ")[1]));
      socket.destroy();
    });
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
    socket.write(`GET /connection/websocket HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  });
}
