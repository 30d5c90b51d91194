import { once } from "node:events";
import net from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { get, send, urlOf } from "./fleet.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--allow-origin", "https://app.example"] });
  await send(gateway, [{ id: "d", ts: Date.now(), lat: 1, lon: 2 }]);
});
afterAll(async () => {
  await gateway?.stop();
});

/** What comes back for these bytes, until the other side closes or `isEnough`. */
async function raw(bytes: string, isEnough: (text: string) => boolean): Promise<string> {
  const socket = net.connect(gateway.ports.http, "127.0.0.1");
  await once(socket, "connect");
  socket.write(bytes, "latin1");
  let text = "";
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (isEnough(text)) resolve();
    });
    socket.on("close", () => resolve());
    socket.on("error", () => resolve());
  });
  socket.destroy();
  return text;
}
const request = (target: string, fields = "Host: localhost\r\n", method = "GET"): string =>
  `${method} ${target} HTTP/1.1\r\n${fields}\r\n`;
const hasEnd = (text: string): boolean => text.includes("}}") || text.includes("\r\n\r\n");
const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);

describe("paths", () => {
  it.each([
    "/../etc/passwd",
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/....//....//etc/passwd",
    "/assets/../../package.json",
    "/package.json",
    "/src/riders/server.ts",
    "/node_modules/maplibre-gl/package.json",
    "//",
    "//etc/passwd",
    "/%00",
    "/index.html%00.js",
    "/\\..\\..\\package.json",
    "/v1",
    "/v1/",
    "/v1/drivers/",
    "/v1/drivers//track",
    "/v1/drivers/d/track/more",
    "/v1/ingest",
    "/v1/admin/topics",
    "/v1/drivers/d/cmd",
    "/metrics",
    "/pub",
    "/mqtt",
    "/favicon",
    `/${"a".repeat(3000)}`,
  ])("%s is not found", async (target) => {
    const answer = await raw(request(target), hasEnd);
    expect(statusOf(answer)).toBe(404);
    expect(answer).toContain('{"error":{"code":"not_found","message":"nothing is served here"}}');
  });

  it.each(["*", "http://other.example/etc/passwd", "etc/passwd"])(
    "%s is no path",
    async (target) => {
      expect(await raw(request(target), hasEnd)).toMatch(/^HTTP\/1\.1 [45]\d\d /);
    },
  );

  it("a head above 4 KiB is refused", async () => {
    expect(statusOf(await raw(request(`/${"a".repeat(20_000)}`), () => false))).toBe(431);
  });
});

describe("methods", () => {
  it.each(["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get"])("%s", async (method) => {
    const answer = await raw(request("/v1/drivers/d", "Host: localhost\r\n", method), hasEnd);
    if (method === "get") return expect(statusOf(answer)).toBe(200);
    expect(statusOf(answer)).toBe(405);
    expect(answer).toContain("Allow: GET, HEAD, OPTIONS\r\n");
  });

  it("HEAD has the length and no body, and the connection goes on", async () => {
    const both = request("/v1/drivers/d", "Host: localhost\r\n", "HEAD") + request("/livez");
    const answer = await raw(both, (text) => text.endsWith("ok\n"));
    const whole = await (await fetch(urlOf(gateway, "/v1/drivers/d"))).text();
    const [head, next] = answer.split("\r\n\r\n");
    expect(head).toContain(`Content-Length: ${whole.length}\r\n`);
    expect(next).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("a WebSocket's address asks for an upgrade", async () => {
    const { status, headers, body } = await get(gateway, "/connection/websocket");
    expect([status, headers.get("upgrade")]).toEqual([426, "websocket"]);
    expect(body.error.code).toBe("upgrade_required");
  });
});

describe("framing", () => {
  const hidden = request("/v1/drivers/d");
  it.each([
    ["two lengths", "Content-Length: 0\r\nContent-Length: 5"],
    ["length and encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked"],
    ["an encoding of its own", "Transfer-Encoding: xchunked"],
    ["a body", `Content-Length: ${hidden.length}`],
    ["a chunked body", "Transfer-Encoding: chunked"],
    ["a negative length", "Content-Length: -1"],
  ])("%s: 400, and what is behind it is not taken", async (_, field) => {
    const answer = await raw(
      request("/livez", `Host: localhost\r\n${field}\r\n`) + hidden,
      () => false,
    );
    // or closed without a word, when what is behind it came in the same read
    expect([400, 0]).toContain(statusOf(answer));
    expect(answer.match(/HTTP\/1\.1/g) ?? []).toHaveLength(answer === "" ? 0 : 1);
    expect(answer).not.toContain("Feature");
  });

  it("pipelined requests are answered in order", async () => {
    const many = Array.from({ length: 50 }, (_, i) =>
      request(`/v1/drivers/none${i % 2 ? "" : "%"}`),
    );
    const answer = await raw(many.join(""), (text) => text.split("}}").length === 51);
    const statuses = [...answer.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status);
    expect(statuses).toEqual(many.map((_, i) => (i % 2 ? "404" : "400")));
  });

  it("a head that never ends is closed", async () => {
    await raw("GET /livez HTTP/1.1\r\nHost:", () => false);
  });

  it("something else than HTTP is closed", async () => {
    await raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", () => false);
  });
});

describe("web pages", () => {
  const as = (fields: string): Promise<string> => raw(request("/v1/drivers/d", fields), hasEnd);

  it("of an allowed origin may read", async () => {
    const answer = await as("Host: localhost\r\nOrigin: https://app.example\r\n");
    expect(answer).toContain("Access-Control-Allow-Origin: https://app.example\r\n");
    expect(answer).toContain("Vary: Origin\r\n");
    const fields =
      "Host: localhost\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n";
    const preflight = await raw(request("/v1/drivers/d", fields, "OPTIONS"), hasEnd);
    expect(statusOf(preflight)).toBe(204);
    expect(preflight).toContain("Access-Control-Allow-Origin: https://app.example\r\n");
    expect(preflight).toContain("Access-Control-Allow-Methods: GET, HEAD\r\n");
  });

  it.each([
    "https://evil.example",
    "null",
    "https://app.example.evil.example",
    "http://app.example",
  ])("of %s may not", async (origin) => {
    const fields = `Host: localhost\r\nOrigin: ${origin}\r\n`;
    expect(await as(fields)).not.toContain("Access-Control-Allow-Origin");
    const preflight = await raw(request("/v1/drivers/d", fields, "OPTIONS"), hasEnd);
    expect(preflight).not.toContain("Access-Control-Allow-Origin");
  });

  it("of a name that points here from elsewhere may not", async () => {
    const answer = await as("Host: evil.example:8080\r\n");
    expect(statusOf(answer)).toBe(403);
    expect(answer).toContain("foreign_host");
    expect(answer).not.toContain("Feature");
    expect(statusOf(await as("Host: app.example\r\n"))).toBe(200);
    expect(statusOf(await as("Host: [::1]:8080\r\n"))).toBe(200);
  });
});

describe("health", () => {
  it("is told, in words when asked", async () => {
    expect(await get(gateway, "/livez")).toMatchObject({ status: 200, body: "ok\n" });
    expect(await get(gateway, "/readyz")).toMatchObject({ status: 200, body: "ready\n" });
    const { body } = await get(gateway, "/readyz?verbose");
    expect(body).toMatch(/^ok drivers: 1 known$/m);
    expect(body).toMatch(/^ok checkpoint: /m);
    expect(body).toMatch(/^ok tracker: 0 pings and 0\.0 s behind$/m);
  });
});

it("counts answers by route and status, never by driver", async () => {
  const labels = 'route="driver",status="404"';
  const before = await gateway.metric("milepost_http_requests_total", labels);
  await get(gateway, "/v1/drivers/secret-driver");
  await get(gateway, "/v1/drivers/secret-driver");
  const after = await gateway.metric("milepost_http_requests_total", labels);
  expect(after - before).toBe(2);
  expect(await gateway.metrics()).not.toContain("secret-driver");
});
