import { once } from "node:events";
import { connect } from "node:net";
import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import { Hangup, serve } from "../../src/kafka/handler.ts";
import { limits } from "../../src/model/limits.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { api } from "../../src/wire/api.ts";
import { apiVersions } from "../../src/wire/apis/api-versions.ts";
import { E } from "../../src/wire/errors.ts";
import { array, field, int16, int32, int8, records, string } from "../../src/wire/schema.ts";
import { Gates, openPort, until } from "./port.ts";
import { WireClient } from "./wire-client.ts";

/** Answers its text, once its gate opens or the client has gone. */
const slow = api({
  key: 900,
  name: "Slow",
  versions: "0-1",
  flexible: "1+",
  request: { text: field("0+", string), padding: field("0+", array(int8)) },
  response: { errorCode: field("0+", int16), text: field("0+", string) },
});
/** The same, overlapping. */
const put = api({
  ...slow,
  key: 0,
  name: "Put",
  versions: "0-1",
  flexible: "1+",
  request: slow.requestFields,
  response: slow.responseFields,
});
/** Answers at once. */
const echo = api({
  ...slow,
  key: 901,
  name: "Echo",
  versions: "0-1",
  flexible: "1+",
  request: slow.requestFields,
  response: slow.responseFields,
});
const bulk = api({
  key: 902,
  name: "Bulk",
  versions: "0",
  flexible: null,
  request: { bytes: field("0+", int32) },
  response: { records: field("0+", records) },
});
const MIB = 1024 * 1024;
const lump = Buffer.alloc(32 * MIB, 7);

function apis(gates = new Gates()) {
  const gated = (overlaps: boolean) => (a: typeof slow) =>
    serve(
      a,
      async ({ text }, { peer }) => {
        const opened = gates.wait(text);
        const closed = new Promise((resolve) => peer.closed.addEventListener("abort", resolve));
        if (!peer.closed.aborted) await Promise.race([opened, closed]);
        return { errorCode: 0, text };
      },
      { overlaps },
    );
  return [
    gated(false)(slow),
    gated(true)(put),
    serve(echo, ({ text }) => ({ errorCode: 0, text })),
    serve(bulk, ({ bytes }) => ({ records: lump.subarray(0, bytes) })),
  ];
}

const padding: number[] = [];
const text = (t: string) => ({ text: t, padding });

describe("order", () => {
  test("requests that overlap are answered in their order, whichever is ready first", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    for (const t of ["a", "b", "c"]) client.send(put, 1, text(t));
    for (const t of ["c", "a", "b"]) await gates.open(t);
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push((await client.answer(put, 1))?.text);
    expect(answers).toEqual(["a", "b", "c"]);
  });

  test("others begin when what came before is answered, and nothing overtakes", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    client.send(put, 0, text("p1"));
    client.send(slow, 0, text("s1"));
    client.send(slow, 0, text("s2"));
    client.send(put, 0, text("p2"));
    for (const t of ["p1", "s1", "s2", "p2"]) {
      await until(() => gates.begun.includes(t));
      expect(gates.begun.at(-1)).toBe(t);
      await gates.open(t);
    }
    for (const a of [put, slow, slow, put]) await client.answer(a, 0);
    expect(gates.begun).toEqual(["p1", "s1", "s2", "p2"]);
  });

  test("any number of requests, cut anywhere, are answered in order", async () => {
    const port = await openPort(apis());
    const cuts = fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 30 });
    const texts = fc.array(fc.string({ maxLength: 300 }), { minLength: 1, maxLength: 150 });
    await fc.assert(
      fc.asyncProperty(texts, cuts, async (all, sizes) => {
        const client = await port.client();
        const stream = Buffer.concat(all.map((t) => client.frame(echo, 1, text(t))));
        for (let at = 0, i = 0; at < stream.length; at += sizes[i++ % sizes.length]) {
          client.raw(stream.subarray(at, at + sizes[i % sizes.length]));
          if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
        }
        for (const t of all) expect((await client.answer(echo, 1))?.text).toBe(t);
        client.close();
      }),
      { numRuns: 15 },
    );
  });
});

describe("a request that has to wait", () => {
  const large = { text: "large", padding: Array.from({ length: 30_000 }, () => 0) };

  test("is read whole when it may begin beside the others", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    client.send(put, 0, text("first"));
    await until(() => gates.begun.length === 1);
    const half = Buffer.alloc(3 * MIB);
    client.raw(client.frame(put, 0, half));
    // it is read, and is no request
    expect(await client.nextFrame()).toBe(null);
    expect(port.lines.join()).toContain("Put version 0: malformed");
  });

  test("is read on when what came before it is answered", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    client.send(slow, 0, text("first"));
    await until(() => gates.begun.length === 1);
    for (let i = 0; i < 8; i++) client.send(echo, 0, large);
    await until(() => port.metric("milepost_kafka_request_memory_bytes") > 64 * 1024);
    const received = port.metric("milepost_kafka_received_bytes_total");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(port.metric("milepost_kafka_received_bytes_total")).toBe(received);
    expect(received).toBeLessThan(3 * 64 * 1024);
    await gates.open("first");
    await client.answer(slow, 0);
    for (let i = 0; i < 8; i++) expect((await client.answer(echo, 0))?.text).toBe("large");
    expect(port.metric("milepost_kafka_request_memory_bytes")).toBe(0);
  });
});

describe("memory of all connections", () => {
  // an item counts for a hundred bytes: 40 000 of them, and their bytes, are 4 MB
  const heavy = (t: string) => ({
    text: t,
    padding: Array.from({ length: limits.kafkaItemsMax }, () => 0),
  });
  const each = limits.kafkaItemsMax * 101;

  test("requests beyond the bound: who holds the most is closed, the others go on", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const many = Math.ceil(limits.kafkaRequestBytesAllMax / each) + 2;
    const small = await port.client();
    small.send(slow, 0, text("small"));
    const clients = [];
    for (let i = 0; i < many; i++) {
      const client = await port.client();
      client.send(slow, 0, heavy(`${i}`));
      clients.push(client);
      await until(() => gates.begun.includes(`${i}`));
      const held = port.metric("milepost_kafka_request_memory_bytes");
      expect(held).toBeLessThanOrEqual(limits.kafkaRequestBytesAllMax);
    }
    expect(port.metric("milepost_kafka_closed_total", { reason: "memory" })).toBeGreaterThan(0);
    expect(port.lines.join()).toContain("its requests hold");
    await gates.open("small");
    expect((await small.answer(slow, 0))?.text).toBe("small");
  });

  test("requests that overlap wait for room, and all are answered", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const many = Math.ceil(limits.kafkaBegunBytesAllMax / each) + 5;
    const clients = await Promise.all(Array.from({ length: many }, () => port.client()));
    for (const [i, client] of clients.entries()) client.send(put, 0, heavy(`${i}`));
    await until(() => gates.begun.length >= many - 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(gates.begun.length).toBeLessThan(many);
    for (let i = 0; i < many; i++) {
      await until(() => gates.begun.length > i);
      await gates.open(gates.begun[i]);
    }
    for (const client of clients) expect((await client.answer(put, 0))?.errorCode).toBe(0);
    expect(port.metric("milepost_kafka_closed_total")).toBe(0);
    expect(port.metric("milepost_kafka_request_memory_bytes")).toBe(0);
  });

  test("answers beyond the bound: who has not read for longest is closed", async () => {
    const port = await openPort(apis());
    const request = (await port.client()).frame(bulk, 0, { bytes: 32 * MIB });
    const frozen = [];
    for (let i = 0; i < 12; i++) {
      const socket = await port.frozen();
      const counted = () =>
        port.metric("milepost_kafka_response_memory_bytes") +
        port.metric("milepost_kafka_closed_total");
      const before = counted();
      socket.write(request);
      await until(() => counted() !== before);
      frozen.push(socket);
      port.clock.now += 1000;
    }
    const held = port.metric("milepost_kafka_response_memory_bytes");
    expect(held).toBeLessThanOrEqual(limits.kafkaUnsentBytesAllMax);
    expect(held).toBeGreaterThan(limits.kafkaUnsentBytesAllMax / 2);
    const closed = port.metric("milepost_kafka_closed_total", { reason: "memory" });
    expect(closed).toBeGreaterThan(0);
    // those that froze first
    const ends = frozen.map((socket) => socket.on("data", () => {}).once("close", () => {}));
    await until(() => ends.slice(0, closed).every((socket) => socket.destroyed));
    expect(ends[11].destroyed).toBe(false);
  });
});

describe("a client that does not read", () => {
  test("holds one answer, begins nothing more, and is closed in time", async () => {
    const port = await openPort(apis());
    const other = await port.client();
    const socket = await port.frozen();
    const request = other.frame(bulk, 0, { bytes: 32 * MIB });
    for (let i = 0; i < 5; i++) socket.write(request);
    const held = () => port.metric("milepost_kafka_response_memory_bytes");
    await until(() => held() > 16 * MIB);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(held()).toBeLessThan(33 * MIB);
    expect((await other.request(echo, 0, text("other"))).text).toBe("other");
    port.pass(limits.kafkaStalledMsMax);
    expect(held()).toBeGreaterThan(16 * MIB);
    port.pass(1);
    expect(held()).toBe(0);
    expect(port.metric("milepost_kafka_closed_total", { reason: "stalled" })).toBe(1);
    expect((await other.request(echo, 0, text("other"))).text).toBe("other");
  });

  test("is left alone while it reads, however slowly", async () => {
    const port = await openPort(apis());
    const socket = await port.frozen();
    socket.write((await port.client()).frame(bulk, 0, { bytes: 32 * MIB }));
    const held = () => port.metric("milepost_kafka_response_memory_bytes");
    await until(() => held() > 16 * MIB);
    let got = 0;
    while (got < 32 * MIB) {
      const before = held();
      // as much as the kernel keeps, and a little: something moves on the other side
      while (got < 32 * MIB && held() === before && before > 0) {
        got += (socket.read() as Buffer | null)?.length ?? 0;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      while (before === 0 && got < 32 * MIB) {
        got += (socket.read() as Buffer | null)?.length ?? 0;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      port.pass(limits.kafkaStalledMsMax - 1);
    }
    expect(port.metric("milepost_kafka_closed_total")).toBe(0);
  });
});

describe("silence", () => {
  test("half a request that goes no further", async () => {
    const port = await openPort(apis());
    const client = await port.client();
    client.raw(client.frame(echo, 0, text("x")).subarray(0, 9));
    await until(() => port.metric("milepost_kafka_received_bytes_total") === 9);
    port.pass(limits.kafkaStalledMsMax);
    expect(port.metric("milepost_kafka_closed_total")).toBe(0);
    port.pass(1);
    expect(await client.nextFrame()).toBe(null);
    expect(port.metric("milepost_kafka_closed_total", { reason: "stalled" })).toBe(1);
  });

  test("a request that comes by the byte", async () => {
    const port = await openPort(apis());
    const client = await port.client();
    const frame = client.frame(echo, 0, text("x".repeat(100)));
    let sent = 0;
    while (port.metric("milepost_kafka_closed_total") === 0) {
      client.raw(frame.subarray(sent, ++sent));
      await until(() => port.metric("milepost_kafka_received_bytes_total") === sent);
      port.pass(limits.kafkaStalledMsMax / 2);
    }
    expect(sent).toBe((2 * limits.kafkaRequestMsMax) / limits.kafkaStalledMsMax + 1);
  });

  test("nobody asks anything; one that waits for an answer is not idle", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const waits = await port.client();
    waits.send(slow, 0, text("wait"));
    const idle = await port.client();
    await idle.request(echo, 0, text("x"));
    await until(() => gates.begun.length === 1);
    port.pass(limits.kafkaIdleMsMax + 1);
    expect(await idle.nextFrame()).toBe(null);
    await gates.open("wait");
    expect((await waits.answer(slow, 0))?.text).toBe("wait");
    expect(port.metric("milepost_kafka_closed_total")).toBe(0);
  });
});

describe("the end of a connection", () => {
  test("after its FIN a client gets its answers, what waits is cut short", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    const socket = connect({ port: port.server.port, host: "127.0.0.1", allowHalfOpen: true });
    const got: Buffer[] = [];
    socket.on("data", (chunk) => got.push(chunk));
    for (const t of ["a", "b"]) socket.write(client.frame(slow, 0, text(t)));
    socket.end(client.frame(echo, 0, text("c")));
    await once(socket, "end");
    const texts = Buffer.concat(got).toString("latin1");
    expect(texts).toMatch(/a[^]*b[^]*c/);
    socket.destroy();
    await until(() => port.metric("milepost_kafka_connections") === 1);
  });

  test("a client that is gone leaves nothing behind", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const client = await port.client();
    client.send(put, 0, text("a"));
    client.raw(client.frame(put, 0, text("b")).subarray(0, 12));
    await until(() => gates.begun.length === 1);
    client.socket.resetAndDestroy();
    await until(() => port.metric("milepost_kafka_connections") === 0);
    await gates.open("a");
    expect(port.server.held).toEqual({ requests: 0, begun: 0, answers: 0 });
    expect(port.lines).toEqual([]);
  });

  test("draining answers what has begun, and begins nothing", async () => {
    const gates = new Gates();
    const port = await openPort(apis(gates));
    const [puts, waits, idle] = await Promise.all([port.client(), port.client(), port.client()]);
    puts.send(put, 0, text("a"));
    waits.send(slow, 0, text("b"));
    waits.send(echo, 0, text("never"));
    await until(() => gates.begun.length === 2);
    const drained = port.server.drain();
    await gates.open("a");
    expect((await puts.answer(put, 0))?.text).toBe("a");
    expect((await waits.answer(slow, 0))?.text).toBe("b");
    expect(await waits.nextFrame()).toBe(null);
    expect(await idle.nextFrame()).toBe(null);
    await drained;
    await expect(port.client()).rejects.toThrow(/ECONNREFUSED/);
  });

  test("a client that does not read holds up no drain", async () => {
    const port = await openPort(apis());
    const socket = await port.frozen();
    socket.write((await port.client()).frame(bulk, 0, { bytes: 32 * MIB }));
    await until(() => port.metric("milepost_kafka_response_memory_bytes") > 0);
    const drained = port.server.drain();
    port.pass(2000);
    await drained;
  });

  test("as many connections as may be, and no more", async () => {
    const port = await openPort(apis(), { connectionsMax: 3 });
    const clients = [await port.client(), await port.client(), await port.client()];
    const fourth = await port.client();
    expect(await fourth.nextFrame()).toBe(null);
    for (const client of clients) await client.request(echo, 0, text("x"));
    clients[0].close();
    await until(() => port.metric("milepost_kafka_connections") === 2);
    await (await port.client()).request(echo, 0, text("x"));
    expect(port.metric("milepost_kafka_closed_total", { reason: "connections" })).toBe(1);
  });
});

describe("faults of handlers", () => {
  const plain = api({
    key: 903,
    name: "Plain",
    versions: "0-1",
    flexible: null,
    request: { text: field("0+", string) },
    response: { text: field("0+", string), errorCode: field("1+", int16) },
  });
  const thrown: Record<string, unknown> = {
    error: new Error("out of cheese"),
    known: new MilepostError("io", "the disk"),
    text: "a string",
    hangup: new Hangup("acks=0: no such topic"),
  };
  const throwing = serve(plain, ({ text: t }) => {
    if (t in thrown) throw thrown[t];
    return { text: t, errorCode: 0 };
  });

  test("an error goes into the answer where it has a place, and to the operator", async () => {
    const port = await openPort([throwing]);
    const client = await port.client();
    const code = async (t: string) => (await client.request(plain, 1, { text: t })).errorCode;
    expect(await code("error")).toBe(E.UNKNOWN_SERVER_ERROR);
    expect(await code("known")).toBe(E.KAFKA_STORAGE_ERROR);
    expect(await code("text")).toBe(E.UNKNOWN_SERVER_ERROR);
    expect(await code("fine")).toBe(0);
    expect(port.lines[0]).toMatch(/^kafka: Plain version 1 failed: Error: out of cheese\n/);
    expect(port.metric("milepost_kafka_failed_total", { api: "Plain" })).toBe(3);
  });

  test("an API may have its own answer for it", async () => {
    const port = await openPort([
      serve(
        plain,
        () => {
          throw new Error("never mind");
        },
        { refuse: ({ text: t }, errorCode) => ({ text: `${t} ${errorCode}`, errorCode }) },
      ),
    ]);
    const client = await port.client();
    expect((await client.request(plain, 0, { text: "why" })).text).toBe("why -1");
  });

  test("without a place for it the connection closes, and no other", async () => {
    const port = await openPort([throwing]);
    const [client, other] = [await port.client(), await port.client()];
    client.send(plain, 0, { text: "error" });
    expect(await client.nextFrame()).toBe(null);
    expect((await other.request(plain, 0, { text: "fine" })).text).toBe("fine");
    expect(port.metric("milepost_kafka_closed_total", { reason: "failed" })).toBe(1);
  });

  test("hanging up is an answer, too", async () => {
    const port = await openPort([throwing]);
    const client = await port.client();
    client.send(plain, 1, { text: "hangup" });
    expect(await client.nextFrame()).toBe(null);
    expect(port.metric("milepost_kafka_closed_total", { reason: "unanswerable" })).toBe(1);
    expect(port.metric("milepost_kafka_failed_total")).toBe(0);
  });

  test("an answer that cannot be written is a fault", async () => {
    const port = await openPort([serve(plain, () => ({ text: "x".repeat(40_000), errorCode: 0 }))]);
    const client = await port.client();
    client.send(plain, 0, { text: "x" });
    expect(await client.nextFrame()).toBe(null);
    expect(port.metric("milepost_kafka_closed_total", { reason: "failed" })).toBe(1);
  });
});

describe("lines for the operator", () => {
  test("are limited, and what was left out is counted", async () => {
    const port = await openPort(apis());
    const many = limits.kafkaLinesPerMinuteMax + 30;
    for (let i = 0; i < many; i++) {
      const client = await port.client();
      client.raw(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
      expect(await client.nextFrame()).toBe(null);
    }
    expect(port.metric("milepost_kafka_closed_total", { reason: "size" })).toBe(many);
    expect(port.lines).toHaveLength(limits.kafkaLinesPerMinuteMax);
    expect(port.lines[0]).toMatch(/^kafka: closed 127\.0\.0\.1:\d+: .*"GET "/);
    port.pass(60_000);
    expect(port.lines.at(-1)).toBe("kafka: connections closed, 30 more within a minute");
  });

  test("APIs that nobody serves fill no registry", async () => {
    const port = await openPort(apis());
    const names = (): number => port.registry.snapshot().length;
    for (let key = 1000; key < 1200; key++) {
      const client = await port.client();
      client.raw(client.frame({ ...echo, key } as typeof echo, 0, text("x")));
      expect(await client.nextFrame()).toBe(null);
    }
    expect(port.metric("milepost_kafka_unsupported_total")).toBe(200);
    expect(port.metric("milepost_kafka_unsupported_total", { api: "1000", version: "0" })).toBe(1);
    expect(names()).toBeLessThan(120);
  });
});

describe("addresses", () => {
  const told = api({
    ...echo,
    key: 904,
    name: "Told",
    versions: "0",
    flexible: null,
    request: {},
    response: slow.responseFields,
  });
  const handler = serve(told, (_, { peer }) => ({
    errorCode: 0,
    text: `${peer.host} → ${peer.advertised.host} ${peer.advertised.port}`,
  }));

  test.each([
    ["127.0.0.1", null, "127.0.0.1", "127.0.0.1 → 127.0.0.1"],
    ["::", null, "127.0.0.1", "127.0.0.1 → 127.0.0.1"],
    ["::", null, "::1", "::1 → ::1"],
    ["127.0.0.1", "broker.example", "127.0.0.1", "127.0.0.1 → broker.example"],
    ["::", "::ffff:10.0.0.7", "::1", "::1 → 10.0.0.7"],
  ])("on %s, advertising %s, reached by %s", async (host, advertise, to, wanted) => {
    const port = await openPort([handler], { host, advertise });
    const client = await WireClient.open(port.server.port, "x", to);
    onTestFinished(() => client.close());
    const { text: answer } = await client.request(told, 0, {});
    expect(answer).toBe(`${wanted} ${port.server.port}`);
  });
});

describe("ApiVersions", () => {
  test.each([5, 999, -1, 32767])(
    "version %i: its own range, in the form of version 0",
    async (v) => {
      const port = await openPort(apis());
      const client = await port.client();
      for (const garbage of [Buffer.alloc(0), Buffer.from("\xff\xff\xff\xff garbage", "latin1")]) {
        client.raw(client.frame(apiVersions, v, garbage));
        const answer = await client.answer(apiVersions, 0);
        expect(answer?.errorCode).toBe(E.UNSUPPORTED_VERSION);
        expect(answer?.apiKeys).toEqual([{ apiKey: 18, minVersion: 0, maxVersion: 4 }]);
      }
      const again = await client.request(apiVersions, 3, {
        clientSoftwareName: "a-client.x",
        clientSoftwareVersion: "1.0",
      });
      expect(again.errorCode).toBe(0);
      expect(again.apiKeys).toHaveLength(5);
    },
  );

  test("a client's software has a name", async () => {
    const port = await openPort(apis());
    const client = await port.client();
    const code = async (version: number, name: string, v: string) =>
      (
        await client.request(apiVersions, version, {
          clientSoftwareName: name,
          clientSoftwareVersion: v,
        })
      ).errorCode;
    for (const bad of ["", " ", "-a", "a-", "a b", "ä"]) {
      expect(await code(3, bad, "1")).toBe(E.INVALID_REQUEST);
      expect(await code(4, "a", bad)).toBe(E.INVALID_REQUEST);
    }
    expect(await code(3, "a", "1.2.3-rc1")).toBe(0);
    expect(await code(2, "", "")).toBe(0);
  });
});
