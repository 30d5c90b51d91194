import fc from "fast-check";
import mqttPacket, { type Packet } from "mqtt-packet";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { limits } from "../../../src/model/limits.ts";
import { openBroker, type Opened } from "./open-broker.ts";
import { openLog, type TestLog } from "./real-log.ts";
import { RawLink, type RawClient } from "./raw-client.ts";

let log: TestLog;
let opened: Opened;
let raw: RawLink;
const unhandled: unknown[] = [];
const note = (e: unknown): void => void unhandled.push(e);

beforeAll(async () => {
  process.on("unhandledRejection", note);
  log = await openLog();
  opened = await openBroker(log);
  raw = new RawLink(opened.broker);
});

afterEach(() => {
  expect(unhandled).toEqual([]);
  expect(opened.reports).toEqual([]);
});

afterAll(async () => {
  raw.close();
  await opened.close();
  log.stop();
  process.off("unhandledRejection", note);
});

let nextId = 0;
async function client(connect: object = {}): Promise<RawClient> {
  const made = raw.attach({ clientId: `c${nextId++}`, ...connect });
  expect(await made.take("connack")).toMatchObject({ returnCode: 0 });
  return made;
}

async function granted(made: RawClient, filters: string[]): Promise<number[]> {
  const subscriptions = filters.map((topic) => ({ topic, qos: 1 }));
  made.send({ cmd: "subscribe", messageId: 7, qos: 1, subscriptions });
  return (await made.take("suback")).granted;
}

const refused = 0x80;

test.each([
  ["#", 1],
  ["+/+/+", 1],
  ["fleet/#", 1],
  ["fleet/+/+", 1],
  ["fleet/d1/#", 1],
  ["fleet/d1/cmd", 1],
  ["fleet/+/status", 1],
  ["fleet/d1/status/#", 1],
  ["owntracks/#", 1],
  ["owntracks/u/+/cmd", 1],
  ["owntracks/+/+/+", 1],
  ["+/d1/position", 1],
  ["any/topic", 1],
  ["fleet", refused],
  ["fleet/+", refused],
  ["fleet//cmd", refused],
  ["fleet/d1/position", refused],
  ["fleet/+/event", refused],
  ["fleet/d1/cmd/x", refused],
  ["fleet/d1/cmd/x/#", refused],
  ["owntracks/+", refused],
  ["owntracks/u/d", refused],
  ["owntracks/u/d/event", refused],
  ["$SYS/#", refused],
  ["$share/g/a", refused],
  [`${"x".repeat(256)}`, 1],
  [`${"x".repeat(257)}`, refused],
  ["1/2/3/4/5/6/7/8", 1],
])("filter %s", async (filter, code) => {
  expect(await granted(await client(), [filter])).toEqual([code]);
});

test("a SUBSCRIBE is granted 64 filters and a session 256, the rest gets 0x80", async () => {
  const made = await client({ clean: false });
  const filters = (n: number, from: number): string[] =>
    Array.from({ length: n }, (_, i) => `many/${from + i}`);
  const codes = await granted(made, filters(65, 0));
  expect(codes.slice(0, 64)).toEqual(Array(64).fill(1));
  expect(codes[64]).toBe(refused);
  for (let from = 64; from < limits.sessionFiltersMax; from += 64) {
    expect(await granted(made, filters(64, from))).toEqual(Array(64).fill(1));
  }
  expect(await granted(made, ["many/0", "one/more"])).toEqual([1, refused]);
  made.send({ cmd: "unsubscribe", messageId: 8, unsubscriptions: ["many/0"] });
  await made.take("unsuback");
  expect(await granted(made, ["one/more"])).toEqual([1]);
});

test("a filter that stands several times gets a code each time", async () => {
  const some = ["a/1", "fleet/x/event", "a/1", "a/2", "fleet/x/event"];
  expect(await granted(await client(), some)).toEqual([1, refused, 1, 1, refused]);
  const many = Array.from({ length: 20_000 }, (_, i) => `${i % 30}`);
  const codes = await granted(await client(), many);
  expect(codes).toEqual(Array(20_000).fill(1));
});

test("a refused filter of a persistent session is not kept", async () => {
  const made = await client({ clean: false, clientId: "keeper" });
  expect(await granted(made, ["fleet/+/position", "ok/1", "$SYS/a", "ok/2"])).toEqual([
    refused,
    1,
    refused,
    1,
  ]);
  made.detach(true);
  const again = raw.attach({ clean: false, clientId: "keeper" });
  expect(await again.take("connack")).toMatchObject({ sessionPresent: true });
  const pub = await client();
  for (const topic of ["ok/1", "ok/2"]) {
    pub.send({ cmd: "publish", topic, payload: "x", qos: 1, messageId: 1 });
    expect(await again.take("publish")).toMatchObject({ topic });
  }
});

test.each([
  ["$SYS/x", 5],
  ["a/+/b", 5],
  ["#", 5],
  ["1/2/3/4/5/6/7/8/9", 5],
  ["y".repeat(300), 5],
])("a will on %s is refused at CONNECT", async (topic, returnCode) => {
  const made = raw.attach({ clientId: "w", will: { topic, payload: "x", qos: 0, retain: false } });
  expect(await made.take("connack")).toMatchObject({ returnCode });
  await made.untilClosed();
});

test.each(["a\u0001b", "x".repeat(300)])("client id %j is refused", async (clientId) => {
  const made = raw.attach({ clientId });
  expect(await made.take("connack")).toMatchObject({ returnCode: 2 });
  await made.untilClosed();
});

test.each(["__proto__", "constructor", "../..", "a/b", "s/x"])("client id %s", async (clientId) => {
  const made = await client({ clientId, clean: false });
  expect(await granted(made, ["toString", "__proto__"])).toEqual([1, 1]);
  made.send({ cmd: "publish", topic: "__proto__", payload: "x", qos: 1, messageId: 1 });
  expect(await made.take("publish")).toMatchObject({ topic: "__proto__" });
});

test.each([
  ["topic empty", Buffer.from([0x30, 2, 0, 0])],
  ["topic with wildcard", Buffer.from("3004" + "0002" + "612b", "hex")],
  ["topic with U+0000", Buffer.from("3004" + "0002" + "6100", "hex")],
  ["topic not UTF-8", Buffer.from("3004" + "0002" + "61ff", "hex")],
  ["topic $SYS", Buffer.from("3008" + "0006" + "245359532f61", "hex")],
  ["topic on ingest", mqttPacket.generate(publish("fleet/d/position"))],
  ["topic of nine levels", mqttPacket.generate(publish("1/2/3/4/5/6/7/8/9"))],
  ["topic of 257 bytes", mqttPacket.generate(publish("x".repeat(257)))],
  ["QoS 3", Buffer.from("3605" + "0001" + "61" + "0001", "hex")],
  ["DUP with QoS 0", Buffer.from("3803" + "0001" + "61", "hex")],
  ["packet id 0", Buffer.from("3205" + "0001" + "61" + "0000", "hex")],
  ["second CONNECT", mqttPacket.generate({ cmd: "connect", clientId: "x" } as Packet)],
  ["CONNACK from a client", Buffer.from("20020000", "hex")],
  ["SUBACK from a client", Buffer.from("9003000100", "hex")],
  ["SUBSCRIBE without filter", Buffer.from("82020001", "hex")],
  ["SUBSCRIBE with flags 0", Buffer.from("8006" + "0001" + "0001" + "61" + "00", "hex")],
  ["SUBSCRIBE for QoS 3", Buffer.from("8206" + "0001" + "0001" + "61" + "03", "hex")],
  ["SUBSCRIBE to a#", Buffer.from("8207" + "0001" + "0002" + "6123" + "00", "hex")],
  ["SUBSCRIBE to #/a", Buffer.from("8208" + "0001" + "0003" + "232f61" + "00", "hex")],
  ["SUBSCRIBE to +a", Buffer.from("8207" + "0001" + "0002" + "2b61" + "00", "hex")],
  ["PUBACK with id 0", Buffer.from("40020000", "hex")],
  ["PUBREL with flags 0", Buffer.from("60020001", "hex")],
  ["DISCONNECT with a body (aedes #612)", Buffer.from("e0020020", "hex")],
  ["PINGREQ with a body", Buffer.from("c00100", "hex")],
  ["type 0", Buffer.from("0000", "hex")],
  ["type 15", Buffer.from("f000", "hex")],
  ["length cut", Buffer.from("30ff", "hex")],
  ["length of five bytes", Buffer.from("30ffffffff01", "hex")],
])("closes for %s, and for nobody else", async (_, bytes) => {
  const other = await client();
  const made = await client();
  made.bytesOf(bytes);
  await made.untilClosed();
  other.send({ cmd: "pingreq" });
  await other.take("pingresp");
});

function publish(topic: string): Packet {
  return { cmd: "publish", topic, payload: "x", qos: 0, dup: false, retain: false };
}

test("QoS 2: an id sent again is answered again, published once; 1 000 at most", async () => {
  const reader = await client();
  expect(await granted(reader, ["twice"])).toEqual([1]);
  const made = await client();
  const send = (messageId: number): void =>
    made.send({ ...publish("twice"), qos: 2, messageId, dup: messageId === 1 });
  send(1);
  send(1);
  await made.take("pubrec");
  await made.take("pubrec");
  for (let id = 2; id <= limits.qos2InflightMax; id++) send(id);
  for (let id = 2; id <= limits.qos2InflightMax; id++) await made.take("pubrec");
  for (let id = 1; id <= limits.qos2InflightMax; id++) await reader.take("publish");
  expect(reader.packets).toEqual([]);
  expect(made.closed).toBe(false);
  send(limits.qos2InflightMax + 1);
  await made.untilClosed();
});

test("mutated packets close at most their own connection", { timeout: 20_000 }, async () => {
  const witness = await client();
  expect(await granted(witness, ["w"])).toEqual([1]);
  const seeds = [
    mqttPacket.generate(publish("a/b")),
    mqttPacket.generate({ ...publish("a/b"), qos: 1, messageId: 5 } as Packet),
    mqttPacket.generate({ ...publish("r"), qos: 2, messageId: 6, retain: true } as Packet),
    ...[
      { cmd: "subscribe", messageId: 9, subscriptions: [{ topic: "a/#", qos: 2 }] },
      { cmd: "unsubscribe", messageId: 9, unsubscriptions: ["a/#"] },
      { cmd: "pubrel", messageId: 6 },
      { cmd: "puback", messageId: 6 },
      { cmd: "pubrec", messageId: 6 },
      { cmd: "pubcomp", messageId: 6 },
      { cmd: "pingreq" },
      { cmd: "disconnect" },
    ].map((p) => mqttPacket.generate(p as Packet)),
  ];
  const mutated = fc
    .tuple(
      fc.constantFrom(...seeds),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      fc.nat({ max: 3 }),
    )
    .map(([seed, changes, cut]) => {
      const bytes = Buffer.from(seed.subarray(0, Math.max(2, seed.length - cut)));
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  const runs = fc.asyncProperty(
    fc.array(mutated, { minLength: 1, maxLength: 6 }),
    fc.boolean(),
    async (packets, clean) => {
      const made = await client({ clean, clientId: clean ? `f${nextId++}` : "fuzzed" });
      for (const packet of packets) made.bytesOf(packet);
      witness.send({ ...publish("w"), qos: 1, messageId: 3 });
      await witness.take("puback");
      expect(await witness.take("publish")).toMatchObject({ topic: "w" });
      made.detach(false);
    },
  );
  await fc.assert(runs, { numRuns: 400 });
});

test("mutated CONNECTs are answered, refused or closed", async () => {
  const seed = mqttPacket.generate({
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 4,
    clean: true,
    clientId: "m",
    keepalive: 9,
    username: "u",
    password: Buffer.from("p"),
    will: { topic: "will/t", payload: Buffer.from("x"), qos: 1, retain: true },
  } as Packet);
  let conn = 1_000_000;
  const runs = fc.asyncProperty(
    fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 5 }),
    async (changes) => {
      const bytes = Buffer.from(seed);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      raw.link.attach(++conn, bytes, false, "fuzz");
      const other = await client();
      raw.link.detach(conn, false);
      other.detach(true);
    },
  );
  await fc.assert(runs, { numRuns: 400 });
  await client(); // the broker is there
});
