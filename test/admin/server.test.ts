import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startAdmin } from "../../src/admin/server.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { MemoryBackend } from "./backend.ts";

let backend: MemoryBackend;
let admin: { port: number; close(): Promise<void> };
let base: string;
const lines: string[] = [];
const log = (line: string): void => void lines.push(line);

beforeEach(async () => {
  lines.length = 0;
  backend = new MemoryBackend();
  const options = { host: "127.0.0.1", port: 0, log, requestMs: 500, connectionsMax: 20 };
  admin = await startAdmin(options, backend);
  base = `http://127.0.0.1:${admin.port}`;
});
afterEach(() => admin.close());

/** Sends bytes as they are and gives back all that comes until the other side closes. */
function raw(bytes: string, keepOpen = false): Promise<string> {
  const socket = connect(admin.port, "127.0.0.1");
  socket.write(bytes);
  if (!keepOpen) socket.end();
  return text(socket);
}

async function call(
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
  headers = {},
) {
  const response = await fetch(base + path, { method, body, headers });
  const answer = await response.text();
  const json = response.headers.get("content-type") === "application/json";
  return { status: response.status, body: json ? JSON.parse(answer) : answer, response };
}

test("a topic's life", async () => {
  const config = { "retention.ms": 1000, "cleanup.policy": "compact" };
  const create = JSON.stringify({ topic: "trips", partitions: 2, config });
  const created = await call("POST", "/v1/admin/topics", create);
  expect(created.status).toBe(201);
  expect(created.body).toEqual({
    topic: "trips",
    config: { "retention.ms": "1000", "cleanup.policy": "compact" },
    partitions: [0, 1].map((partition) => ({
      partition,
      start: 0,
      end: 12 * partition,
      highWatermark: 12 * partition,
      leader: 1,
      leaderEpoch: 0,
      replicas: [1],
      isr: [1],
    })),
  });
  expect((await call("POST", "/v1/admin/topics", create)).body).toEqual({
    error: { code: "topic_exists", message: "the topic exists already: trips" },
  });
  const change = JSON.stringify({ partitions: 3, config: { "cleanup.policy": null } });
  const altered = await call("PATCH", "/v1/admin/topics/trips", change);
  expect(altered.body.partitions).toHaveLength(3);
  expect(altered.body.config).toEqual({ "retention.ms": "1000" });
  expect((await call("GET", "/v1/admin/topics")).body).toEqual({
    topics: [{ topic: "trips", partitions: 3, config: { "retention.ms": "1000" } }],
  });
  const unconfirmed = await call("DELETE", "/v1/admin/topics/trips");
  expect([unconfirmed.status, unconfirmed.body.error.code]).toEqual([400, "confirm_required"]);
  expect((await call("DELETE", "/v1/admin/topics/trips?confirm=trips")).status).toBe(204);
  const gone = await call("GET", "/v1/admin/topics/trips");
  expect([gone.status, gone.body.error.code]).toEqual([404, "topic_missing"]);
  expect(lines).toContainEqual(expect.stringMatching(/DELETE "\/v1\/admin\/topics\/trips".* 204$/));
});

test("four partitions when nobody says how many", async () => {
  const { body } = await call("POST", "/v1/admin/topics", '{"topic":"a"}');
  expect(body.partitions).toHaveLength(4);
});

test("a command of any bytes up to 8 KiB", async () => {
  const bytes = Uint8Array.from({ length: 8192 }, (_, i) => i & 255);
  const { status, body } = await call("POST", "/v1/drivers/d%201/cmd", bytes);
  expect([status, body]).toEqual([202, { partition: 3, offset: 0 }]);
  expect(backend.commands[0][0]).toBe("d 1");
  expect(Buffer.from(backend.commands[0][1])).toEqual(Buffer.from(bytes));
  expect((await call("POST", "/v1/drivers/d/cmd", new Uint8Array(8193))).status).toBe(413);
  expect((await call("POST", "/v1/drivers/d/cmd", new Uint8Array(3_000_000))).status).toBe(413);
  expect((await call("POST", "/v1/drivers/d/cmd")).status).toBe(202);
  expect(backend.commands).toHaveLength(2);
});

test("a command the node cannot take now is 503 with Retry-After", async () => {
  backend.refuse = new MilepostError("disk_full");
  const { status, body, response } = await call("POST", "/v1/drivers/d/cmd", "x");
  expect([status, body.error.code]).toEqual([503, "disk_full"]);
  expect(response.headers.get("retry-after")).toBe("1");
});

test("a fault is 500 without its text, which is in the log", async () => {
  backend.refuse = new TypeError("secret path");
  const { status, body } = await call("POST", "/v1/drivers/d/cmd", "x");
  expect([status, body.error.code]).toEqual([500, "internal"]);
  expect(JSON.stringify(body)).not.toContain("secret");
  expect(lines.join()).toContain("secret path");
});

test("health and metrics", async () => {
  expect((await call("GET", "/livez")).body).toBe("ok\n");
  expect((await call("GET", "/readyz")).body).toBe("ready\n");
  backend.checkList.push({ name: "etcd", ok: true, degraded: true, detail: "away" });
  expect((await call("GET", "/readyz?verbose")).body).toBe(
    "ok disk: writable\ndegraded etcd: away\nready\n",
  );
  backend.checkList[0] = { name: "disk", ok: false, detail: "12 MiB left" };
  const failed = await call("GET", "/readyz");
  expect([failed.status, failed.body]).toEqual([503, "failed disk: 12 MiB left\nnot ready\n"]);
  const metrics = await call("GET", "/metrics");
  expect(metrics.body).toBe("milepost_up 1\n");
  expect(metrics.response.headers.get("content-type")).toContain("version=0.0.4");
  const head = await call("HEAD", "/readyz");
  expect([head.status, head.body]).toEqual([503, ""]);
});

test.each([
  ["GET", "/", 404, "not_found"],
  ["GET", "/v1/admin/topics/", 400, "bad_request"],
  ["GET", "/v1//admin/topics", 400, "bad_request"],
  ["GET", "/v1/admin/topics/a%2Fb", 400, "bad_request"],
  ["GET", "/v1/admin/topics/%2e%2e%5cx", 400, "bad_request"],
  ["GET", "/v1/admin/topics/a%00", 400, "bad_request"],
  ["GET", "/v1/admin/topics/%zz", 400, "bad_request"],
  ["GET", "/v1/admin/topics/%C3", 400, "bad_request"],
  ["GET", "/v1/admin/topics/none", 404, "topic_missing"],
  ["GET", "/v1/admin/topics/__proto__", 404, "topic_missing"],
  ["DELETE", "/metrics", 405, "method_not_allowed"],
  ["POST", "/v1/admin/topics/x", 405, "method_not_allowed"],
  ["OPTIONS", "/v1/admin/topics", 405, "method_not_allowed"],
  ["GET", "/v1/drivers/d/cmd", 405, "method_not_allowed"],
  ["POST", "/v1/drivers/a+b/cmd", 400, "bad_id"],
  ["POST", "/v1/drivers/a%23/cmd", 400, "bad_id"],
  ["POST", `/v1/drivers/${"d".repeat(129)}/cmd`, 400, "bad_id"],
  ["GET", "/constructor", 404, "not_found"],
])("%s %s is %i %s", async (method, path, status, code) => {
  const answer = await call(method, path);
  expect([answer.status, answer.body.error.code]).toEqual([status, code]);
});

test.each([
  ["", "bad_json"],
  ["{", "bad_json"],
  ["[]", "bad_json"],
  ["null", "bad_json"],
  ["{}", "invalid_topic"],
  ['{"topic":1}', "invalid_topic"],
  ['{"topic":"a/b"}', "invalid_topic"],
  ['{"topic":"a","partitions":0}', "invalid_partitions"],
  ['{"topic":"a","partitions":1e9}', "invalid_partitions"],
  ['{"topic":"a","partitions":"4"}', "invalid_partitions"],
  ['{"topic":"a","config":[]}', "invalid_config"],
  ['{"topic":"a","config":{"x":{}}}', "invalid_config"],
  ['{"topic":"a","config":{"x":null}}', "invalid_config"],
  ['{"topic":"a","color":"red"}', "bad_request"],
  ['{"topic":"a","__proto__":{"partitions":1}}', "bad_request"],
])("creating a topic with %s is refused: %s", async (body, code) => {
  const answer = await call("POST", "/v1/admin/topics", body);
  expect([answer.status, answer.body.error.code]).toEqual([400, code]);
  expect(backend.topics()).toEqual([]);
});

test("invalid UTF-8 and bodies above the cap", async () => {
  const bad = await call("POST", "/v1/admin/topics", new Uint8Array([0x22, 0xff, 0x22]));
  expect(bad.body.error.code).toBe("bad_json");
  const large = await call("POST", "/v1/admin/topics", " ".repeat(65 * 1024));
  expect(large.status).toBe(413);
});

test("405 says what is allowed; nothing ever allows another origin", async () => {
  const { response } = await call("OPTIONS", "/v1/admin/topics", undefined, {
    origin: "http://evil.example",
  });
  expect(response.status).toBe(403);
  expect(response.headers.get("access-control-allow-origin")).toBeNull();
  const put = await call("PUT", "/v1/admin/topics/x");
  expect(put.response.headers.get("allow")).toBe("GET, PATCH, DELETE, HEAD");
});

test.each([
  ["Host: evil.example\r\n", 403],
  ["Host: evil.example:80\r\n", 403],
  ["Host: localhost.evil.example\r\n", 403],
  ["Host: 127.0.0.1\r\nOrigin: http://evil.example\r\n", 403],
  ["Host: 127.0.0.1\r\nOrigin: null\r\n", 403],
  ["Host: 127.0.0.1:9600\r\nOrigin: http://127.0.0.1:8080\r\n", 403],
  ["Host: 127.0.0.1:9600\r\nOrigin: http://127.0.0.1:9600\r\n", 200],
  ["Host: localhost:9600\r\n", 200],
  ["Host: [::1]:9600\r\n", 200],
  ["", 400],
])("a GET with %j is %i", async (headers, status) => {
  const reply = await raw(`GET /livez HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`);
  expect(reply).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
});

const post = "POST /v1/drivers/d/cmd HTTP/1.1\r\nHost: localhost\r\n";

test.each([
  ["two lengths that differ", `${post}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`],
  ["the same length twice", `${post}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`],
  [
    "a length and chunks",
    `${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ],
  ["a negative length", `${post}Content-Length: -1\r\n\r\n`],
  ["a length that is no number", `${post}Content-Length: 0x3\r\n\r\nabc`],
  ["a chunk size that overflows", `${post}Transfer-Encoding: chunked\r\n\r\n${"f".repeat(20)}\r\n`],
  ["an unknown encoding", `${post}Transfer-Encoding: xchunked\r\n\r\nabc`],
  ["a header line ended by a bare LF", `${post}X: y\nZ: 1\r\n\r\n`],
  ["no HTTP at all", "\u0016\u0003\u0001\u0002\r\n\r\n"],
])("%s is 400, the connection closes, nothing reaches a device", async (_, bytes) => {
  const reply = await raw(bytes, true);
  expect(reply).toMatch(/^HTTP\/1\.1 400 /);
  expect(reply.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(backend.commands).toEqual([]);
});

test("a body that stops coming and headers that never end are 408", async () => {
  expect(await raw(`${post}Content-Length: 10\r\n\r\nab`, true)).toMatch(/^HTTP\/1\.1 408 /);
  expect(await raw("GET /livez HTTP/1.1\r\nHost: lo", true)).toMatch(/^HTTP\/1\.1 408 /);
});

test("headers above 8 KiB are 431", async () => {
  const reply = await raw(
    `GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${"a".repeat(9000)}\r\n\r\n`,
  );
  expect(reply).toMatch(/^HTTP\/1\.1 431 /);
});

test("a client that leaves in the middle of its body harms nobody", async () => {
  const socket = connect(admin.port, "127.0.0.1");
  socket.write(`${post}Content-Length: 10\r\n\r\nab`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
  expect((await call("GET", "/livez")).status).toBe(200);
  expect(lines).toEqual([]);
});

test("connections above the limit are closed on arrival", async () => {
  const sockets = Array.from({ length: 30 }, () => connect(admin.port, "127.0.0.1"));
  const closed = sockets.map(
    (socket) =>
      new Promise<boolean>((resolve) => {
        socket.on("error", () => resolve(true));
        socket.on("close", () => resolve(true));
        socket.on("connect", () => socket.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        socket.on("data", () => resolve(false));
      }),
  );
  expect((await Promise.all(closed)).filter(Boolean)).toHaveLength(10);
  for (const socket of sockets) socket.destroy();
});

test("closing ends kept-alive connections", async () => {
  const socket = connect(admin.port, "127.0.0.1");
  const everything = text(socket);
  socket.write("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await new Promise((resolve) => socket.once("data", resolve));
  await admin.close();
  expect(await everything).toMatch(/^HTTP\/1.1 200 /);
});

test("a port in use is the caller's error", async () => {
  const second = startAdmin({ host: "127.0.0.1", port: admin.port, log }, backend);
  await expect(second).rejects.toMatchObject({ code: "EADDRINUSE" });
});

test("open to the network, other names reach it, but no web page of such a name", async () => {
  const open = await startAdmin({ host: "0.0.0.0", port: 0, log }, backend);
  const url = `http://127.0.0.1:${open.port}/livez`;
  const status = (headers: string): Promise<string> => {
    const socket = connect(open.port, "127.0.0.1");
    socket.end(`GET /livez HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`);
    return text(socket).then((reply) => reply.slice(9, 12));
  };
  expect(await status("Host: milepost:9600\r\n")).toBe("200");
  expect(await status("Host: evil:9600\r\nOrigin: http://evil:9600\r\n")).toBe("403");
  expect((await fetch(url)).status).toBe(200);
  await open.close();
});
