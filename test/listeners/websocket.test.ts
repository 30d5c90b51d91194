import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket, type ClientOptions } from "ws";
import { limits } from "../../src/model/limits.ts";
import { metric, openDevicePort, rawWebSocket, type DevicePort } from "./device-port.ts";

let gateway: DevicePort;
let clients: WebSocket[];
beforeEach(async () => {
  gateway = await openDevicePort();
  clients = [];
});
afterEach(() => {
  for (const client of clients) client.terminate();
  gateway.close();
});

type Reply = { ack?: number; nack?: number; [field: string]: unknown };
type Device = {
  ws: WebSocket;
  replies: Reply[];
  /** Resolves when so many replies have come. */
  replied(count: number): Promise<Reply[]>;
  closed: Promise<{ code: number; reason: string }>;
};

async function connect(path = "/v1/ingest", options: ClientOptions = {}): Promise<Device> {
  const device = dial(path, options);
  await once(device.ws, "open");
  return device;
}

function dial(path: string, options: ClientOptions = {}): Device {
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}`, options);
  clients.push(ws);
  const replies: Reply[] = [];
  ws.on("message", (data) => replies.push(JSON.parse(String(data)) as Reply));
  ws.on("error", () => {});
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    ws.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
  });
  const replied = async (count: number): Promise<Reply[]> => {
    while (replies.length < count) await once(ws, "message");
    return replies;
  };
  return { ws, replies, replied, closed };
}

/** The HTTP status an upgrade is refused with. */
async function refusal(path: string, options: ClientOptions = {}): Promise<number | undefined> {
  const { ws } = dial(path, options);
  const [, response] = await once(ws, "unexpected-response");
  return response.statusCode;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const good = '{"id":"d1","ts":1,"lat":1,"lon":2}';

describe("acknowledgements", () => {
  it("answers one ping per frame with its place", async () => {
    const { ws, replied } = await connect();
    ws.send(good);
    expect(await replied(1)).toEqual([{ ack: 1, accepted: 1, rejected: [], p: [[3, 0]] }]);
  });

  it("answers an array item by item, in the contract's bytes", async () => {
    const { ws } = await connect();
    ws.send(`[${good},{"lat":"x"},${good},{}]`);
    const [data] = await once(ws, "message");
    expect(String(data)).toBe(
      '{"ack":1,"accepted":2,"rejected":[{"i":1,"reason":"bad_position"},' +
        '{"i":3,"reason":"bad_position"}],"p":[[3,0],null,[3,1],null]}',
    );
  });

  it("keeps the order of the frames, rejected or not", async () => {
    const { ws, replied } = await connect();
    for (let i = 0; i < 200; i++) ws.send(i % 3 === 0 ? "{" : i % 3 === 1 ? good : "[]");
    const replies = await replied(200);
    expect(replies.map((reply) => reply.ack)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(replies[0]).toMatchObject({ accepted: 0, rejected: [{ i: 0, reason: "bad_json" }] });
    expect(replies[2]).toMatchObject({ accepted: 0, rejected: [], p: [] });
  });

  it("reassembles a fragmented message", async () => {
    const { ws, replied } = await connect();
    ws.send(good.slice(0, 9), { fin: false });
    ws.send(good.slice(9), { fin: true });
    expect(await replied(1)).toMatchObject([{ ack: 1, accepted: 1 }]);
  });

  it("says nothing before the intake has answered", async () => {
    gateway.intake.holding = true;
    const { ws, replies, replied } = await connect();
    ws.send(good);
    ws.send(good);
    await until(() => gateway.intake.waiting === 2);
    ws.ping();
    await once(ws, "pong");
    expect(replies).toEqual([]);
    gateway.intake.letGo(2);
    expect(await replied(2)).toMatchObject([{ ack: 1 }, { ack: 2 }]);
  });

  it("counts open sockets", async () => {
    const labels = { transport: "ws" };
    const { ws } = await connect();
    expect(metric(gateway.registry, "milepost_connections", labels)).toBe(1);
    expect(metric(gateway.registry, "milepost_connections", { transport: "http" })).toBe(0);
    ws.close();
    await until(() => metric(gateway.registry, "milepost_connections", labels) === 0);
  });
});

describe("limits", () => {
  it("takes a frame of 256 KiB and closes 1009 above", async () => {
    const { ws, replied, closed } = await connect();
    ws.send(`"${"x".repeat(limits.frameBytesMax - 2)}"`);
    await replied(1);
    ws.send("x".repeat(limits.frameBytesMax + 1));
    expect(await closed).toEqual({ code: 1009, reason: "too large" });
  });

  it("answers what came before a frame of too many pings, then closes 1009", async () => {
    gateway.intake.holding = true;
    const { ws, replies, closed } = await connect();
    ws.send(good);
    ws.send(`[${Array(limits.framePingsMax + 1).fill("1")}]`);
    ws.send(good);
    await until(() => gateway.intake.taken.length === 2);
    gateway.intake.letGo(1);
    expect((await closed).code).toBe(1009);
    expect(replies).toMatchObject([{ ack: 1 }]);
    expect(gateway.intake.taken.length).toBe(2);
  });

  it("refuses the 257th unanswered frame, after the acks of those before", async () => {
    gateway.intake.holding = true;
    const { ws, replies, closed } = await connect();
    for (let i = 0; i < limits.wsUnansweredFramesMax + 20; i++) ws.send(good);
    await until(() => gateway.intake.waiting === limits.wsUnansweredFramesMax);
    ws.ping();
    await once(ws, "pong");
    gateway.intake.letGo(limits.wsUnansweredFramesMax);
    expect(await closed).toEqual({ code: 1013, reason: "backlog" });
    expect(replies.length).toBe(limits.wsUnansweredFramesMax + 1);
    expect(replies.at(-1)).toEqual({
      nack: limits.wsUnansweredFramesMax + 1,
      reason: "backlog",
      retryAfter: expect.any(Number),
    });
    expect(gateway.intake.taken.length).toBe(limits.wsUnansweredFramesMax);
  });

  it("refuses more than 1 MiB unanswered", async () => {
    gateway.intake.holding = true;
    const { ws, replies, closed } = await connect();
    const frame = `"${"x".repeat(200_000 - 2)}"`;
    for (let i = 0; i < 6; i++) ws.send(frame);
    await until(() => gateway.intake.waiting === 5);
    gateway.intake.letGo(5);
    expect((await closed).code).toBe(1013);
    expect(replies.at(-1)).toMatchObject({ nack: 6, reason: "backlog" });
  });

  it("goes on for ever when replies are read, however many frames", async () => {
    const { ws, replies } = await connect();
    for (let round = 0; round < 30; round++) {
      const before = replies.length;
      for (let i = 0; i < 100; i++) ws.send(good);
      while (replies.length < before + 50) await once(ws, "message");
    }
    while (replies.length < 3000) await once(ws, "message");
    expect(replies.at(-1)).toMatchObject({ ack: 3000 });
  });

  it("closes who does not read its replies, and nobody else", async () => {
    const frozen = await rawWebSocket(gateway.port);
    frozen.socket.pause();
    const reader = await connect();
    const many = `[${Array(limits.framePingsMax).fill('{"lat":1}')}]`;
    const frame = Buffer.concat([
      Buffer.from([0x81, 0xfe, many.length >> 8, many.length & 0xff, 0, 0, 0, 0]),
      Buffer.from(many),
    ]);
    const labels = { transport: "ws", reason: "slow_reader" };
    while (metric(gateway.registry, "milepost_connections_closed_total", labels) === 0) {
      frozen.send(frame);
      reader.ws.send(good);
      await reader.replied(reader.replies.length + 1);
    }
    reader.ws.send(good);
    await reader.replied(reader.replies.length + 1);
    expect(metric(gateway.registry, "milepost_connections", { transport: "ws" })).toBe(1);
    frozen.destroy();
  });
});

describe("refusals", () => {
  it("nacks the frame that is refused and closes 1013", async () => {
    gateway.intake.holding = true;
    const { ws, replies, closed } = await connect();
    for (let i = 0; i < 4; i++) ws.send(good);
    await until(() => gateway.intake.waiting === 4);
    gateway.intake.letGo(1);
    gateway.intake.letGo(1, "timeout");
    gateway.intake.letGo(2);
    expect(await closed).toEqual({ code: 1013, reason: "timeout" });
    expect(replies).toMatchObject([{ ack: 1 }, { nack: 2, reason: "timeout" }]);
  });

  it("nacks with a word of the contract, whatever the log's was", async () => {
    gateway.intake.holding = true;
    const { ws, replies, closed } = await connect();
    ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    gateway.intake.letGo(1, "topic_missing");
    expect(await closed).toEqual({ code: 1013, reason: "timeout" });
    expect(replies).toMatchObject([{ nack: 1, reason: "timeout" }]);
  });

  it("nacks at once while nothing can be written, and refuses new sockets with 503", async () => {
    const { ws, replies, closed } = await connect();
    gateway.intake.refusing = "disk_full";
    ws.send(good);
    expect(await closed).toEqual({ code: 1013, reason: "disk_full" });
    expect(replies).toMatchObject([{ nack: 1, reason: "disk_full" }]);
    expect(gateway.intake.taken).toEqual([]);
    expect(await refusal("/v1/ingest")).toBe(503);
    gateway.intake.refusing = null;
    const another = await connect();
    gateway.intake.refusing = "uplink";
    another.ws.send(good);
    expect(await another.closed).toEqual({ code: 1013, reason: "timeout" });
    expect(another.replies).toMatchObject([{ nack: 1, reason: "timeout" }]);
  });

  it("closes on a binary frame", async () => {
    const { ws, closed } = await connect();
    ws.send(Buffer.from(good));
    expect((await closed).code).toBe(1003);
    expect(gateway.intake.taken).toEqual([]);
  });

  it("drains: answers what it took, nacks what it did not", async () => {
    gateway.intake.holding = true;
    const busy = await connect();
    const idle = await connect();
    busy.ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    let isDrained = false;
    const drained = gateway.app.drain("draining").then(() => (isDrained = true));
    expect(await idle.closed).toEqual({ code: 1013, reason: "draining" });
    expect(idle.replies).toMatchObject([{ nack: 1, reason: "draining" }]);
    busy.ws.send(good);
    busy.ws.ping();
    await once(busy.ws, "pong");
    expect(isDrained).toBe(false);
    gateway.intake.letGo(1);
    await drained;
    expect((await busy.closed).code).toBe(1013);
    expect(busy.replies).toMatchObject([{ ack: 1 }, { nack: 2, reason: "draining" }]);
  });

  it("stays out of the way when a client leaves with frames pending", async () => {
    gateway.intake.holding = true;
    const { ws } = await connect("/v1/ingest?driver=d1");
    ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    ws.terminate();
    await until(() => metric(gateway.registry, "milepost_connections", { transport: "ws" }) === 0);
    gateway.intake.letGo(1);
    await gateway.app.drain("draining");
  });
});

describe("upgrade", () => {
  it("refuses a driver= that is no driver id", async () => {
    for (const bad of ["a%2Fb", "", "a%00", "%zz", "%ff", "x".repeat(129), "a%2Bb"]) {
      expect(await refusal(`/v1/ingest?driver=${bad}`), bad).toBe(400);
    }
  });

  it("decodes driver=", async () => {
    const { ws, replied } = await connect("/v1/ingest?x=1&driver=Jos%C3%A9+M");
    ws.send(good);
    await replied(1);
    expect(gateway.intake.taken[0].source).toMatchObject({
      transport: "ws",
      dialect: "native",
      driver: "José M",
      identity: Buffer.from("José M"),
    });
  });

  it("refuses a foreign origin, on every path", async () => {
    for (const origin of ["https://evil.example", "null", `http://127.0.0.1:${gateway.port}`]) {
      expect(await refusal("/v1/ingest", { origin })).toBe(403);
      expect(await refusal("/mqtt", { origin })).toBe(403);
    }
    await connect("/v1/ingest", { origin: "https://fleet.example" });
  });

  it("wants version 13", async () => {
    expect(await refusal("/v1/ingest", { protocolVersion: 8 })).toBe(426);
  });

  it("does not agree to compression", async () => {
    const { ws } = await connect("/v1/ingest", { perMessageDeflate: true });
    expect(ws.extensions).toBe("");
  });
});

describe("takeover", () => {
  it("closes the old socket 4001 after its last answer, then reads the new one", async () => {
    gateway.intake.holding = true;
    const old = await connect("/v1/ingest?driver=d1");
    old.ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    const young = await connect("/v1/ingest?driver=d1");
    young.ws.send(good);
    young.ws.ping();
    await once(young.ws, "pong");
    old.ws.ping();
    await once(old.ws, "pong");
    expect(gateway.intake.taken.length).toBe(1);
    gateway.intake.letGo(1);
    expect(await old.closed).toEqual({ code: 4001, reason: "taken over" });
    expect(old.replies).toMatchObject([{ ack: 1 }]);
    await until(() => gateway.intake.waiting === 1);
    gateway.intake.letGo(1);
    expect(await young.replied(1)).toMatchObject([{ ack: 1 }]);
  });

  it("takes a frame sent right after a reconnect, with the old socket still pending", async () => {
    gateway.intake.holding = true;
    const old = await connect("/v1/ingest?driver=d1");
    old.ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    old.ws.terminate();
    const young = await connect("/v1/ingest?driver=d1");
    young.ws.send("[]");
    young.ws.ping();
    await once(young.ws, "pong");
    expect(gateway.intake.taken.length).toBe(1);
    gateway.intake.letGo(1);
    await until(() => gateway.intake.waiting === 1);
    gateway.intake.letGo(1);
    expect(await young.replied(1)).toMatchObject([{ ack: 1 }]);
  });

  it("lets the newest of many win, whatever the order", async () => {
    const devices = await Promise.all(
      Array.from({ length: 8 }, () => connect("/v1/ingest?driver=d1")),
    );
    await until(() => metric(gateway.registry, "milepost_connections", { transport: "ws" }) === 1);
    // the closes that the gateway has sent are still on their way to the clients
    const open = () => devices.filter((device) => device.ws.readyState === WebSocket.OPEN);
    await until(() => open().length === 1);
    const [last] = open();
    last.ws.send(good);
    expect(await last.replied(1)).toMatchObject([{ ack: 1 }]);
  });

  it("bounds what waits for a claim", async () => {
    gateway.intake.holding = true;
    const old = await connect("/v1/ingest?driver=d1");
    old.ws.send(good);
    await until(() => gateway.intake.waiting === 1);
    const young = await connect("/v1/ingest?driver=d1");
    for (let i = 0; i < limits.wsUnansweredFramesMax + 1; i++) young.ws.send(good);
    expect((await young.closed).code).toBe(1013);
    expect(young.replies).toMatchObject([{ nack: 1, reason: "backlog" }]);
    gateway.intake.letGo(1);
    expect((await old.closed).code).toBe(4001);
  });
});
