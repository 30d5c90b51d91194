/** Bytes that a broker of good standing once fell over, and what each gets here. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startGateway, type Gateway } from "../../harness/gateway.ts";
import {
  ACCEPTED,
  bytes,
  connect,
  packet,
  ping,
  PINGREQ,
  publish,
  Raw,
  str,
  subscribe,
} from "./bytes.ts";

let gateway: Gateway;
let port: number;
beforeAll(async () => {
  gateway = await startGateway();
  port = gateway.ports.mqtt;
});
afterAll(() => gateway.stop());

/** What a client sends first, and all that it gets until the socket is closed on it. */
const beforeConnect: [string, Buffer, string][] = [
  ["PUBLISH first, with a large length", bytes([0x30, 0xff, 0xff, 0xff, 0x7f]), ""],
  ["CONNECT that claims 256 MiB", bytes([0x10, 0xff, 0xff, 0xff, 0x7f]), ""],
  ["five-byte length", bytes([0x10, 0xff, 0xff, 0xff, 0xff, 0x01]), ""],
  ["length that is not minimal", bytes([0x10, 0x80, 0x00]), ""],
  ["CONNECT with header flags", bytes([0x11, 0]), ""],
  ["HTTP", bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ""],
  ["TLS hello", bytes([0x16, 3, 1, 0, 0xf8, 1, 0, 0, 0xf4]), ""],
  ["MQTT 5", packet(0x10, str("MQTT"), 5, 2, [0, 60], 0, str("a")), "2003008400"],
  ["MQTT 3.1", connect({ name: "MQIsdp", level: 3 }), "20020001"],
  ["level 6", connect({ level: 6 }), "20020001"],
  ["unknown protocol", connect({ name: "MQTQ" }), ""],
  ["reserved flag", connect({ flags: 3 }), ""],
  ["will QoS 3", connect({ flags: 0x1e, rest: bytes(str("t"), str("m")) }), ""],
  ["will flags without a will", connect({ flags: 0x22 }), ""],
  ["password without a user", connect({ flags: 0x42, rest: str("p") }), ""],
  ["will with a wildcard", connect({ flags: 6, rest: bytes(str("a/#"), str("m")) }), ""],
  ["trailing bytes", connect({ rest: bytes([1, 2, 3]) }), ""],
  ["cut short", packet(0x10, str("MQTT"), 4, 2), ""],
  ["empty id, session kept", connect({ flags: 0 }), "20020002"],
  ["id with a slash", connect({ id: "a/b" }), "20020002"],
  ["id ../", connect({ id: "../x" }), "20020002"],
  ["id with a wildcard", connect({ id: "a+" }), "20020002"],
  ["id with a control character", connect({ id: "a\u0001" }), "20020002"],
  ["id with NUL", connect({ id: "a\0b" }), "20020002"],
  ["id that is not UTF-8", connect({ id: bytes([0xff, 0xfe]) }), "20020002"],
  ["id that is a surrogate", connect({ id: bytes([0xed, 0xa0, 0x80]) }), "20020002"],
  ["id of 60 000 bytes", connect({ id: "x".repeat(60_000) }), "20020002"],
];

test.each(beforeConnect)("before CONNECT: %s", async (_, sent, got) => {
  const raw = await Raw.open(port);
  expect(await raw.send(sent).untilClose()).toBe(got);
});

/** After CONNACK: what closes the connection, and what comes before that. */
const afterConnect: [string, Buffer, string][] = [
  ["a second CONNECT", connect(), ""],
  ["CONNACK from a client", bytes([0x20, 2, 0, 0]), ""],
  ["SUBACK from a client", packet(0x90, [0, 1, 0]), ""],
  ["packet type 0", bytes([0, 0]), ""],
  ["packet type 15", bytes([0xf0, 0]), ""],
  ["QoS 3", packet(0x36, str("fleet/a/position"), [0, 1], "x"), ""],
  ["DUP with QoS 0", publish("fleet/a/position", ping("a"), 0, 0, 8), ""],
  ["packet id 0", publish("fleet/a/position", ping("a"), 1, 0), ""],
  ["empty topic", publish("", "x"), ""],
  ["topic with a wildcard", publish("fleet/+/position", "x"), ""],
  ["topic with NUL", publish("fleet/a\0/position", "x"), ""],
  ["topic that is not UTF-8", publish(bytes("fleet/", [0xc3, 0x28]), "x"), ""],
  ["topic of 65 535 bytes", publish("x".repeat(65_535), "x"), ""],
  ["topic of 1 000 levels", publish("a/".repeat(127), "x"), ""],
  ["topic longer than the packet", packet(0x32, [0xff, 0xff], "abc"), ""],
  ["SUBSCRIBE with flags 0", packet(0x80, [0, 1], str("a"), 0), ""],
  ["PUBREL with flags 0", packet(0x60, [0, 1]), ""],
  ["PUBREL of three bytes", packet(0x62, [0, 1, 2]), ""],
  ["PINGREQ with a body", packet(0xc0, 1), ""],
  ["DISCONNECT with a body", bytes([0xe0, 0x02, 0x00, 0x20]), ""],
  ["SUBSCRIBE without filters", packet(0x82, [0, 1]), ""],
  ["payload above 256 KiB", publish("fleet/a/position", "x".repeat(256 * 1024 + 1)), ""],
  ["array of 2 001 pings", publish("fleet/a/position", `[${"{},".repeat(2000)}{}]`), ""],
  ["the same at QoS 0", publish("fleet/a/position", `[${"{},".repeat(2000)}{}]`, 0), ""],
];

test.each(afterConnect)("after CONNACK: %s", async (_, sent, got) => {
  const raw = await Raw.open(port);
  expect(await raw.send(connect()).take(4)).toBe(ACCEPTED);
  expect(await raw.send(sent).untilClose()).toBe(got);
});

describe("ids that are names in JavaScript", () => {
  test.each(["__proto__", "constructor", "hasOwnProperty"])("%s", async (id) => {
    const raw = await Raw.open(port);
    raw.send(connect({ id }), publish(`fleet/${id}/position`, ping(id), 1, 7));
    expect(await raw.take(8)).toBe(`${ACCEPTED}40020007`);
    raw.end();
  });
});

test("packets cut into single bytes, and many in one segment, are the same packets", async () => {
  const all = bytes(
    connect({ id: "cut" }),
    publish("fleet/cut/position", ping("cut"), 1, 1),
    PINGREQ,
    publish("fleet/cut/position", `[${ping("cut")},${ping("cut")}]`, 1, 2),
    publish("fleet/cut/position", "not json", 2, 3),
    packet(0x62, [0, 3]),
  );
  for (const step of [1, 7, all.length]) {
    const raw = await Raw.open(port);
    for (let i = 0; i < all.length; i += step) {
      raw.send(all.subarray(i, i + step));
      if (step === 1) await new Promise((resolve) => setImmediate(resolve));
    }
    const expected = [ACCEPTED, "40020001", "d000", "40020002", "50020003", "70020003"];
    const got = await raw.take(expected.join("").length / 2);
    // PINGRESP and PUBCOMP are answered at once, the others when the log has them
    const found = got.match(/20020000|4002....|5002....|7002....|d000/g);
    expect([...(found ?? [])].sort()).toEqual([...expected].sort());
    expect(found?.filter((p) => /^[45]/.test(p))).toEqual(["40020001", "40020002", "50020003"]);
    raw.end();
  }
});

test("500 pipelined behind CONNECT are taken in order", async () => {
  const raw = await Raw.open(port);
  const parts = [connect({ id: "backlog", flags: 0 })];
  for (let i = 1; i <= 500; i++) {
    parts.push(publish("fleet/backlog/position", ping("backlog"), 1, i));
  }
  raw.send(...parts);
  const acks = Array.from({ length: 500 }, (_, i) => (i + 1).toString(16).padStart(4, "0"));
  expect(await raw.take(4 + 2000)).toBe(ACCEPTED + acks.map((id) => `4002${id}`).join(""));
  raw.end();
});

test("acknowledgements of both sides keep the order of the sends", async () => {
  const raw = await Raw.open(port);
  raw.send(connect({ id: "both" }));
  const parts = [];
  for (let i = 1; i <= 60; i++) {
    const topic = i % 3 === 0 ? "chat/room" : "fleet/both/position";
    parts.push(publish(topic, ping("both"), 1, i));
  }
  raw.send(...parts);
  const acks = Array.from({ length: 60 }, (_, i) => `4002${(i + 1).toString(16).padStart(4, "0")}`);
  expect(await raw.take(4 + 240)).toBe(ACCEPTED + acks.join(""));
  raw.end();
});

test("a client id's newer connection is read once the old one's sends are settled", async () => {
  const first = await Raw.open(port);
  first.send(connect({ id: "twice" }), publish("fleet/twice/position", ping("twice"), 1, 1));
  expect(await first.take(8)).toBe(`${ACCEPTED}40020001`);
  const second = await Raw.open(port);
  second.send(connect({ id: "twice" }), publish("fleet/twice/position", ping("twice"), 1, 2));
  expect(await second.take(8)).toBe(`${ACCEPTED}40020002`);
  expect(await first.untilClose()).toBe("");
  second.end();
});

test("a filter that matches only ingest topics is refused, a wider one granted", async () => {
  const raw = await Raw.open(port);
  raw.send(connect({ id: "sub" }));
  expect(await raw.take(4)).toBe(ACCEPTED);
  raw.send(subscribe(1, ["fleet/+/position", 1], ["#", 1], ["fleet/sub/cmd", 1]));
  expect(await raw.take(7)).toBe("9005000180" + "0101");
  raw.send(publish("fleet/sub/position", ping("sub"), 1, 9));
  // its own ping does not come back on #
  expect(await raw.take(4)).toBe("40020009");
  raw.send(PINGREQ);
  expect(await raw.take(2)).toBe("d000");
  raw.end();
});

test("QoS 2: the same packet id is not stored twice before PUBREL", async () => {
  const raw = await Raw.open(port);
  raw.send(connect({ id: "q2" }));
  const text = ping("q2");
  raw.send(publish("fleet/q2/position", text, 2, 5));
  expect(await raw.take(8)).toBe(`${ACCEPTED}50020005`);
  raw.send(publish("fleet/q2/position", text, 2, 5, 8));
  expect(await raw.take(4)).toBe("50020005");
  raw.send(packet(0x62, [0, 5]));
  expect(await raw.take(4)).toBe("70020005");
  raw.end();
});

test("QoS 2: a kept session remembers its packet ids, a clean one does not", async () => {
  const before = await gateway.metric("milepost_log_end_offset", 'topic="positions"');
  for (const flags of [0, 2]) {
    const id = `q2-${flags}`;
    const first = await Raw.open(port);
    first.send(connect({ id, flags }), publish(`fleet/${id}/position`, ping(id), 2, 5));
    expect(await first.take(8)).toBe(`${ACCEPTED}50020005`);
    first.end();
    const second = await Raw.open(port);
    second.send(connect({ id, flags }), publish(`fleet/${id}/position`, ping(id), 2, 5, 8));
    const present = flags === 0 ? "20020100" : ACCEPTED;
    expect(await second.take(8)).toBe(`${present}50020005`);
    second.end();
  }
  const after = await gateway.metric("milepost_log_end_offset", 'topic="positions"');
  expect(after - before).toBe(3);
});

test("whatever came, the gateway still takes pings", async () => {
  const raw = await Raw.open(port);
  raw.send(connect(), publish("fleet/last/position", ping("last"), 1, 1));
  expect(await raw.take(8)).toBe(`${ACCEPTED}40020001`);
  raw.end();
  expect(gateway.stderr()).not.toMatch(/Error|unhandled/i);
});
