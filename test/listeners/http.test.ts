import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { metric, openDevicePort, RawConnection, type DevicePort } from "./device-port.ts";

let gateway: DevicePort;
beforeEach(async () => {
  gateway = await openDevicePort();
});
afterEach(() => gateway.close());

function request(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`http://127.0.0.1:${gateway.port}${path}`, init);
}

function post(path: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return request(path, { method: "POST", body, headers });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const good = '{"id":"d1","ts":1,"lat":1,"lon":2}';

describe("POST /v1/ingest", () => {
  it("takes a ping, an array and lines, and answers item by item", async () => {
    const one = await post("/v1/ingest?driver=d%201", good);
    expect(one.status).toBe(200);
    expect(one.headers.get("content-type")).toBe("application/json");
    expect(await one.text()).toBe('{"accepted":1,"rejected":[]}');
    const many = await post("/v1/ingest", `[${good},{},${good}]`);
    expect(await many.text()).toBe('{"accepted":2,"rejected":[{"i":1,"reason":"bad_position"}]}');
    const lines = await post("/v1/ingest", `${good}\n${good}\r\n{}\n`);
    expect(await lines.json()).toMatchObject({ accepted: 2, rejected: [{ i: 2 }] });
    const typed = await post("/v1/ingest", good, { "content-type": "application/x-ndjson" });
    expect(await typed.json()).toEqual({ accepted: 1, rejected: [] });
    expect(gateway.intake.taken.map((taken) => taken.ndjson)).toEqual([false, false, true, true]);
    expect(gateway.intake.taken[0].source).toMatchObject({
      transport: "http",
      dialect: "native",
      driver: "d 1",
      identity: Buffer.from("d 1"),
    });
    expect(gateway.intake.taken[1].source.driver).toBe(null);
  });

  it("takes one document over many lines for one document", async () => {
    const pretty = JSON.stringify({ lat: 1, nested: { a: "}" }, b: [{}, {}] }, null, 2);
    await post("/v1/ingest", pretty);
    await post("/v1/ingest", `\n[${good},\n${good}\n]\n`);
    expect(gateway.intake.taken.map((taken) => taken.ndjson)).toEqual([false, false]);
  });

  it("looks through a body of line breaks once", async () => {
    // once for each of them was a minute of a worker
    const gap = "\n".repeat(limits.frameBytesMax - 2 * good.length);
    expect((await post("/v1/ingest", good + gap)).status).toBe(200);
    expect((await post("/v1/ingest", good + gap + good)).status).toBe(200);
    expect(gateway.intake.taken.map((taken) => taken.ndjson)).toEqual([false, true]);
  });

  it("asks to send again what the log could not take", async () => {
    gateway.intake.holding = true;
    const answer = post("/v1/ingest", good);
    await until(() => gateway.intake.waiting === 1);
    // the topic was deleted with the body under way
    gateway.intake.letGo(1, "topic_missing");
    expect((await answer).status).toBe(503);
    expect(Number((await answer).headers.get("retry-after"))).toBeGreaterThan(0);
  });

  it("answers only when the intake has", async () => {
    gateway.intake.holding = true;
    let isAnswered = false;
    const answer = post("/v1/ingest", good).then(() => (isAnswered = true));
    await until(() => gateway.intake.waiting === 1);
    await request("/nowhere");
    expect(isAnswered).toBe(false);
    gateway.intake.letGo(1);
    await answer;
  });

  it("answers 413 above 256 KiB, declared or not, and above 2000 pings", async () => {
    const big = "x".repeat(limits.frameBytesMax + 1);
    expect((await post("/v1/ingest", big)).status).toBe(413);
    expect((await post("/v1/ingest", big.repeat(4))).status).toBe(413);
    const stream = new ReadableStream({
      start: (controller) => {
        for (let i = 0; i < 5; i++) controller.enqueue(Buffer.alloc(60_000, 0x61));
        controller.close();
      },
    });
    const streamed = { method: "POST", body: stream, duplex: "half" } as RequestInit;
    const answer = await request("/v1/ingest", streamed);
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ error: { code: "too_large" } });
    expect(gateway.intake.taken).toEqual([]);
    const many = `[${Array(limits.framePingsMax + 1).fill("1")}]`;
    expect((await post("/v1/ingest", many)).status).toBe(413);
    const full = `"${"x".repeat(limits.frameBytesMax - 2)}"`;
    expect((await post("/v1/ingest", full)).status).toBe(200);
  });

  it("does not read a body of 100 MB", async () => {
    const connection = await RawConnection.open(gateway.port);
    connection.send("POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n[");
    expect(await connection.closed()).toContain("HTTP/1.1 413 ");
  });

  it("answers 503 with Retry-After while it refuses", async () => {
    gateway.intake.refusing = "disk_full";
    const answer = await post("/v1/ingest", good);
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await answer.json()).toMatchObject({ error: { code: "disk_full" } });
    gateway.intake.refusing = null;
    gateway.intake.holding = true;
    const late = post("/v1/ingest", good);
    await until(() => gateway.intake.waiting === 1);
    gateway.intake.letGo(1, "timeout");
    expect((await late).status).toBe(503);
  });

  it("refuses a driver= that is no driver id, and a malformed query", async () => {
    for (const bad of ["driver=", "driver=a%2Fb", "driver=%zz", "%ff=1"]) {
      expect((await post(`/v1/ingest?${bad}`, good)).status, bad).toBe(400);
    }
  });

  it("waits with bodies while the intake is paused, in order", async () => {
    gateway.intake.paused = true;
    const first = post("/v1/ingest?driver=a", good);
    await until(() => metric(gateway.registry, "milepost_connections", { transport: "http" }) >= 1);
    const slow = await RawConnection.open(gateway.port);
    slow.send("POST /v1/ingest?driver=b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[");
    await request("/nowhere");
    slow.send("]");
    await request("/nowhere");
    expect(gateway.intake.taken).toEqual([]);
    gateway.intake.resume();
    expect((await first).status).toBe(200);
    expect(await slow.until((text) => text.includes("rejected"))).toContain("HTTP/1.1 200 ");
    expect(gateway.intake.taken.map((taken) => taken.source.driver)).toEqual(["a", "b"]);
    slow.destroy();
  });

  it("refuses on draining what waits, what is half read, and what comes", async () => {
    gateway.intake.paused = true;
    const held = post("/v1/ingest", good);
    const half = await RawConnection.open(gateway.port);
    half.send("POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n[");
    await request("/nowhere");
    await gateway.app.drain("draining");
    expect((await held).status).toBe(503);
    expect(await half.until((text) => text.includes("}"))).toContain("HTTP/1.1 503 ");
    half.clear();
    half.send("  ]GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await half.until((text) => text.includes("}"))).toContain("HTTP/1.1 404 ");
    half.destroy();
    expect((await post("/v1/ingest", good)).status).toBe(503);
    expect(gateway.intake.taken).toEqual([]);
  });

  it("forgets an upload that is aborted, before and after it was taken", async () => {
    const labels = { status: "0" };
    const name = "milepost_device_http_responses_total";
    const partial = await RawConnection.open(gateway.port);
    partial.send("POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n[1,");
    await request("/nowhere");
    partial.destroy();
    await until(() => metric(gateway.registry, name, labels) === 1);
    gateway.intake.holding = true;
    const whole = await RawConnection.open(gateway.port);
    whole.send("POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]");
    await until(() => gateway.intake.waiting === 1);
    whole.destroy();
    await until(() => metric(gateway.registry, name, labels) === 2);
    gateway.intake.letGo(1);
    expect((await request("/nowhere")).status).toBe(404);
  });

  it("drains: what was taken is answered, what comes is refused by the intake", async () => {
    gateway.intake.holding = true;
    const taken = post("/v1/ingest", good);
    await until(() => gateway.intake.waiting === 1);
    gateway.intake.refusing = "draining";
    const drained = gateway.app.drain("draining");
    const late = await post("/v1/ingest", good);
    expect(late.status).toBe(503);
    gateway.app.stopAccepting();
    gateway.intake.letGo(1);
    expect((await taken).status).toBe(200);
    await drained;
  });
});

describe("dialects", () => {
  const location = '{"_type":"location","lat":1.5,"lon":2.5,"tst":1700000000,"vel":36,"batt":50}';

  it("speaks OwnTracks", async () => {
    const inQuery = await post("/pub?u=ann&d=phone", location);
    expect([inQuery.status, await inQuery.text()]).toEqual([200, "[]"]);
    const inHeaders = await post("/pub", location, { "x-limit-u": "bob", "x-limit-d": "car" });
    expect([inHeaders.status, await inHeaders.text()]).toEqual([200, "[]"]);
    const [first, second] = gateway.intake.taken;
    expect(first.source).toMatchObject({ dialect: "owntracks", driver: "ann:phone" });
    expect(second.source).toMatchObject({ dialect: "owntracks", driver: "bob:car" });
    expect(JSON.parse(first.text)).toMatchObject({ lat: 1.5, speed: 10, battery: 0.5 });
  });

  it("keeps other OwnTracks messages as events, and acknowledges what it rejects", async () => {
    const transition = '{"_type":"transition","event":"enter"}';
    expect(await (await post("/pub?u=a&d=b", transition)).text()).toBe("[]");
    const broken = await post("/pub?u=a&d=b", "{");
    expect([broken.status, await broken.text()]).toEqual([200, "[]"]);
    expect(gateway.intake.taken.map((taken) => taken.text)).toEqual([
      `event ${transition}`,
      "reject bad_json {",
    ]);
    expect((await post("/pub?u=a", location)).status).toBe(400);
    expect((await post("/pub?u=a&d=b%2Fc", location)).status).toBe(400);
  });

  it("speaks OsmAnd, in a query, a form or JSON", async () => {
    const query = "id=d1&lat=1.5&lon=2.5&timestamp=1700000000&speed=10";
    const byGet = await request(`/osmand?${query}`);
    expect([byGet.status, await byGet.text()]).toEqual([200, ""]);
    const form = await request("/osmand?deviceid=d1", {
      method: "POST",
      body: new URLSearchParams({ lat: "1.5", lon: "2.5", timestamp: "1700000000", speed: "10" }),
    });
    expect(form.status).toBe(200);
    const json = {
      device_id: "d1",
      location: { coords: { latitude: 1.5, longitude: 2.5, speed: 10 } },
    };
    expect((await post("/osmand", JSON.stringify(json))).status).toBe(200);
    const pings = gateway.intake.taken.map((taken) => JSON.parse(taken.text));
    expect(pings[0]).toMatchObject({
      id: "d1",
      lat: 1.5,
      lon: 2.5,
      speed: expect.closeTo(5.144, 3),
    });
    expect(pings[1]).toEqual(pings[0]);
    expect(pings[2]).toMatchObject({ id: "d1", lat: 1.5, lon: 2.5, speed: 10 });
    for (const { source } of gateway.intake.taken) {
      expect(source).toMatchObject({ transport: "http", dialect: "osmand", driver: "d1" });
    }
  });

  it("acknowledges an OsmAnd ping that is rejected, so that it is not sent for ever", async () => {
    expect((await request("/osmand?id=d1&lat=x&lon=2")).status).toBe(200);
    expect((await post("/osmand", "{")).status).toBe(200);
    expect((await post("/osmand", "lat=%zz")).status).toBe(200);
    expect((await request("/osmand?lat=1&lon=2")).status).toBe(200);
    expect(gateway.intake.taken.length).toBe(4);
    expect(gateway.intake.taken[1].text).toBe("reject bad_json {");
    expect(gateway.intake.taken[3].source.driver).toBe(null);
    expect((await request("/osmand")).status).toBe(400);
  });
});

describe("everything else", () => {
  it("answers 404, 405, 426 as JSON, HEAD without a body", async () => {
    const missing = await request("/v1/other");
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: "not_found" } });
    const wrong = await request("/v1/ingest", { method: "PUT", body: "x" });
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
    const get = await request("/v1/ingest");
    expect(get.status).toBe(405);
    const osmand = await request("/osmand?id=1", { method: "DELETE" });
    expect([osmand.status, osmand.headers.get("allow")]).toEqual([405, "GET, POST"]);
    expect((await request("/mqtt")).status).toBe(426);
    const head = await RawConnection.open(gateway.port);
    head.send("HEAD /v1/other HTTP/1.1\r\nHost: a\r\n\r\nHEAD /pub HTTP/1.1\r\nHost: a\r\n\r\n");
    const answers = await head.until((text) => text.split("\r\n\r\n").length === 3);
    expect(answers).toMatch(/^HTTP\/1.1 404 [^{]*\r\n\r\nHTTP\/1.1 405 [^{]*\r\n\r\n$/);
    expect(answers.match(/content-length: \d\d/gi)?.length).toBe(2);
    head.destroy();
  });

  it("says nothing of the server, and nothing to a foreign origin", async () => {
    const answer = await post("/v1/ingest", good);
    expect(answer.headers.get("server")).toBe(null);
    expect(answer.headers.get("uwebsockets")).toBe(null);
    const origin = "https://evil.example";
    const foreign = await post("/v1/ingest", good, { origin });
    expect(foreign.status).toBe(403);
    const preflight = await request("/v1/ingest", { method: "OPTIONS", headers: { origin } });
    expect(preflight.status).toBe(405);
    expect(preflight.headers.get("access-control-allow-origin")).toBe(null);
    const own = await post("/v1/ingest", good, { origin: "https://fleet.example" });
    expect(own.status).toBe(200);
    expect(gateway.intake.taken.length).toBe(2);
  });
});
