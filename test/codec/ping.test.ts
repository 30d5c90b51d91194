import { describe, expect, test } from "vitest";
import { DriverMemory } from "../../src/codec/driver-memory.ts";
import { PingReader } from "../../src/codec/ping.ts";
import { limits } from "../../src/model/limits.ts";
import { now, outcome, read } from "./read.ts";

const head = `{"id":"d1","ts":${now}`;
const at = `${head},"lat":12.97,"lon":77.59`;
const hour = 3_600_000;
const timed = (ts: number | string): string => `{"id":"d1","ts":${ts},"lat":12.97,"lon":77.59}`;
const positioned = (lat: string, lon: string): string => `${head},"lat":${lat},"lon":${lon}}`;

describe("canonical pings are stored as their own bytes", () => {
  test.each([
    `${at}}`,
    `${at},"speed":0,"heading":359.99,"accuracy":100000,"altitude":-500,"battery":1}`,
    `${at},"speed":13.9,"trip":"t/1 #+","seq":999999999999999}`,
    `${at},"trip":"","seq":0,"ign":true,"door":false,"load":null,"fuel":-1.5e-3,"driver":"x y"}`,
    `${at},"iccid":89014103211118510720}`,
    positioned("90", "-180"),
    positioned("-90", "180"),
    positioned("0", "0.1"),
    positioned("12.971598700000001", "-122.41941550000001"),
    positioned("1.5E1", "1e-7"),
    timed(now + hour - 1),
    timed(now - 7 * 24 * hour),
  ])("%s", (text) => {
    expect(read(text)).toMatchObject({ value: text, key: "d1", own: true, flags: [] });
  });

  test("with the numbers that JSON.parse finds in them", () => {
    for (const n of ["12.9715987", "-0.00012345", "77.123456789012", "89.99999999999999", "5e-1"]) {
      expect(read(positioned(n, n))).toMatchObject({ lat: Number(n), lon: Number(n), own: true });
    }
  });
});

describe("rewritten to canonical form", () => {
  const rows: [what: string, given: string, stored: string][] = [
    ["white space, other order", ` {"lon" : 77.59, "lat":12.97,\n"ts":${now},"id":"d1"}`, `${at}}`],
    ["lng", `${head},"lat":12.97,"lng":77.59}`, `${at}}`],
    ["latitude, longitude", `${head},"latitude":12.97,"longitude":77.59}`, `${at}}`],
    ["bearing", `${at},"bearing":12}`, `${at},"heading":12}`],
    ["heading 360", `${at},"heading":360}`, `${at},"heading":0}`],
    ["an alias that says the same", `${at},"lng":77.59}`, `${at}}`],
    ["timestamp, ms", `{"id":"d1","timestamp":${now},"lat":12.97,"lon":77.59}`, `${at}}`],
    ["ts in seconds", timed(now / 1000), `${at}}`],
    ["ts in seconds with a fraction", timed("1763726400.000"), `${at}}`],
    ["ts in ISO 8601", timed('"2025-11-21T12:00:00Z"'), `${at}}`],
    ["with an offset", timed('"2025-11-21T17:30:00.000+05:30"'), `${at}}`],
    ["escapes in names and values", `${at},"tr\\u0069p":"\\u00e9\\/"}`, `${at},"trip":"é/"}`],
    ["a duplicate: the last wins", `${at},"seq":1,"seq":2}`, `${at},"seq":2}`],
    ["a duplicate unknown field", `${at},"x":1,"y":2,"x":3}`, `${at},"x":3,"y":2}`],
    [
      "unknown fields last",
      `${head},"x":{"a":[1]},"lat":12.97,"lon":77.59,"seq":1}`,
      `${at},"seq":1,"x":{"a":[1]}}`,
    ],
    [
      "numbers beyond 2^53 keep their digits",
      `${at},"x":[89014103211118510720,1e999]}`,
      `${at},"x":[89014103211118510720,1e999]}`,
    ],
    ["seq to 2^53-1", `${at},"seq":9007199254740991}`, `${at},"seq":9007199254740991}`],
    [
      "__proto__ is a name like any other",
      `${at},"__proto__":{"lat":1},"constructor":{"x":1}}`,
      `${at},"__proto__":{"lat":1},"constructor":{"x":1}}`,
    ],
  ];
  test.each(rows)("%s", (_what, given, stored) => {
    expect(read(given)).toMatchObject({ value: stored, key: "d1", own: false, flags: [] });
  });

  test("prototypes stay clean", () => {
    read(`${at},"__proto__":{"polluted":1}}`);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});

describe("rejected", () => {
  const deep = (n: number): string => `${at},"x":${"[".repeat(n)}${"]".repeat(n)}}`;
  const rows: [what: string, given: string | Uint8Array, reason: string][] = [
    ["empty", "", "bad_json"],
    ["no JSON", "hello", "bad_json"],
    ["trailing bytes", `${at}}x`, "bad_json"],
    ["trailing brace", `${at}}}`, "bad_json"],
    ["cut short", at, "bad_json"],
    ["NaN", positioned("NaN", "1"), "bad_json"],
    ["Infinity", positioned("-Infinity", "1"), "bad_json"],
    ["leading zero", positioned("012.9", "1"), "bad_json"],
    ["no digit after the point", positioned("12.", "1"), "bad_json"],
    ["plus sign", positioned("+1", "1"), "bad_json"],
    ["trailing comma", `${at},}`, "bad_json"],
    ["a BOM", `\ufeff${at}}`, "bad_json"],
    ["invalid UTF-8", Buffer.from(`${at},"trip":"\xff"}`, "latin1"), "bad_json"],
    ["overlong UTF-8", Buffer.from(`${at},"trip":"\xc0\xaf"}`, "latin1"), "bad_json"],
    ["a raw surrogate", Buffer.from(`${at},"trip":"\xed\xa0\x80"}`, "latin1"), "bad_json"],
    ["an escaped lone surrogate", `${at},"trip":"\\ud800"}`, "bad_json"],
    ["one in a name", `${at},"\\udc00":1}`, "bad_json"],
    ["one deep inside", `${at},"x":[{"y":"a\\udfff"}]}`, "bad_json"],
    ["a control character", `${at},"trip":"\t"}`, "bad_json"],
    ["depth 17", deep(16), "bad_json"],
    ["depth 10 000", `{"x":${"[".repeat(10_000)}${"]".repeat(10_000)}}`, "bad_json"],
    ["an array", `[${at}}]`, "bad_json"],
    ["a number", "5", "bad_json"],
    ["null", "null", "bad_json"],
    ["large and no JSON", "x".repeat(100_000), "bad_json"],
    ["large", `${at},"x":"${"x".repeat(limits.pingBytesMax)}"}`, "too_large"],
    ["a string of 200 KB", `"${"x".repeat(200_000)}"`, "bad_json"],
    ["id missing", `{"ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["id empty", `{"id":"","ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["id a number", `{"id":7,"ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["id null", `{"id":null,"ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["id of 129 bytes", `{"id":"${"x".repeat(129)}","ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["id of 65 × 2 bytes", `{"id":"${"é".repeat(65)}","ts":${now},"lat":1,"lon":1}`, "bad_id"],
    ["lat missing", `${head},"lon":1}`, "bad_position"],
    ["lat a string", positioned('"12.9"', "1"), "bad_position"],
    ["lat null", positioned("null", "1"), "bad_position"],
    ["lat 1e999", positioned("1e999", "1"), "bad_position"],
    ["lat 91", positioned("91", "1"), "bad_position"],
    ["lat just above 90", positioned("90.00000000000001", "1"), "bad_position"],
    ["lon 181", positioned("1", "181"), "bad_position"],
    ["lon -180.1", positioned("1", "-180.1"), "bad_position"],
    ["lon -1e999", positioned("1", "-1e999"), "bad_position"],
    ["ts missing", '{"id":"d1","lat":1,"lon":1}', "bad_time"],
    ["ts null", timed("null"), "bad_time"],
    ["ts no ISO", timed('"yesterday"'), "bad_time"],
    ["ts no date", timed('"2025-13-41T12:00:00Z"'), "bad_time"],
    ["ts 1e999", timed("1e999"), "bad_time"],
    ["ts -1e30", timed("-1e30"), "bad_time"],
    ["more than 24 h ahead", timed(now + 24 * hour + 1), "bad_time"],
  ];
  test.each(rows)("%s: %#", (_what, given, reason) => {
    expect(read(given)).toEqual({ reason });
  });
  test.each(["/", "+", "#", "\\u0000", "\\n", "\x7f", "\u0085"])("id with %j", (c) => {
    const given = `{"id":"a${c}b","ts":${now},"lat":1,"lon":1}`;
    expect(read(given)).toEqual({ reason: "bad_id" });
  });
  test("depth 16 is taken", () => {
    expect(read(deep(15))).toMatchObject({ value: deep(15) });
  });
  test("an id of 128 bytes is taken", () => {
    for (const id of ["x".repeat(128), "é".repeat(64)]) {
      expect(read(`{"id":"${id}","ts":${now},"lat":1,"lon":1}`)).toMatchObject({ key: id });
    }
  });
});

describe("stored with a flag", () => {
  const raw = (name: string, value: string): string => `,"raw.${name}":${value}`;
  const field = ',"flags":["field"]}';
  const rows: [what: string, given: string, stored: string][] = [
    ["0,0", positioned("0", "0"), `${head},"lat":0,"lon":0,"flags":["zero"]}`],
    ["-0,0", positioned("-0.0", "0"), `${head},"lat":0,"lon":0,"flags":["zero"]}`],
    [
      "30 days old",
      timed(now - 30 * 24 * hour),
      timed(now - 30 * 24 * hour).replace("}", ',"flags":["old"]}'),
    ],
    ["ts 0", timed(0), timed(0).replace("}", ',"flags":["old"]}')],
    [
      "7 days and 1 ms old",
      timed(now - 7 * 24 * hour - 1),
      timed(now - 7 * 24 * hour - 1).replace("}", ',"flags":["old"]}'),
    ],
    ["1 h ahead", timed(now + hour), `${at},"tsDevice":${now + hour},"flags":["clamped"]}`],
    [
      "24 h ahead",
      timed(now + 24 * hour),
      `${at},"tsDevice":${now + 24 * hour},"flags":["clamped"]}`,
    ],
    [
      "a device's own tsDevice gives way",
      timed(now + hour).replace("}", ',"tsDevice":1}'),
      `${at},"tsDevice":${now + hour},"flags":["clamped"]}`,
    ],
    ["speed -1", `${at},"speed":-1}`, at + raw("speed", "-1") + field],
    ["speed 1e9", `${at},"speed":1000000000}`, at + raw("speed", "1000000000") + field],
    ["speed 1e999", `${at},"speed":1e999}`, at + raw("speed", "1e999") + field],
    ["speed a string", `${at},"speed":"9"}`, at + raw("speed", '"9"') + field],
    ["heading -1", `${at},"heading":-1}`, at + raw("heading", "-1") + field],
    ["heading 360.5", `${at},"heading":360.5}`, at + raw("heading", "360.5") + field],
    ["bearing null", `${at},"bearing":null}`, at + raw("heading", "null") + field],
    ["accuracy -1", `${at},"accuracy":-1}`, at + raw("accuracy", "-1") + field],
    ["accuracy 10^6", `${at},"accuracy":1000000}`, at + raw("accuracy", "1000000") + field],
    ["altitude -501", `${at},"altitude":-501}`, at + raw("altitude", "-501") + field],
    ["altitude 20001", `${at},"altitude":20001}`, at + raw("altitude", "20001") + field],
    ["battery 55", `${at},"battery":55}`, at + raw("battery", "55") + field],
    ["trip a number", `${at},"trip":5}`, at + raw("trip", "5") + field],
    ["seq -1", `${at},"seq":-1}`, at + raw("seq", "-1") + field],
    ["seq 1.5", `${at},"seq":1.5}`, at + raw("seq", "1.5") + field],
    ["seq 2^53", `${at},"seq":9007199254740992}`, at + raw("seq", "9007199254740992") + field],
    ["another value in an alias", `${at},"lng":1}`, at + raw("lng", "1") + field],
    ["flags of the device", `${at},"flags":["jump"]}`, at + raw("flags", '["jump"]') + field],
    [
      "a device's own raw.speed gives way",
      `${at},"raw.speed":1,"speed":-1}`,
      at + raw("speed", "-1") + field,
    ],
    [
      "fields that are right stay",
      `${at},"speed":5,"battery":"x","seq":3,"k":1}`,
      `${at},"speed":5,"seq":3,"k":1${raw("battery", '"x"')}${field}`,
    ],
    [
      "several",
      positioned("0", "0").replace("}", ',"speed":-1}'),
      `${head},"lat":0,"lon":0${raw("speed", "-1")},"flags":["zero","field"]}`,
    ],
  ];
  test.each(rows)("%s", (_what, given, stored) => {
    const result = read(given);
    expect(result).toMatchObject({ value: stored, own: false });
    expect(result).toMatchObject({ flags: JSON.parse(stored).flags });
  });

  test("clamped: ts is the receive time", () => {
    expect(read(timed(now + 2 * hour))).toMatchObject({ ts: now });
  });

  test("jump: from the previous ping of the same driver on the connection", () => {
    const memory = new DriverMemory();
    const fix = (id: string, s: number, lat: number): unknown => {
      const body = `{"id":"${id}","ts":${now + s * 1000},"lat":${lat},"lon":77.5}`;
      return (read(body, null, memory) as { flags: string[] }).flags;
    };
    expect(fix("a", 0, 12)).toEqual([]);
    expect(fix("a", 1, 12.0007)).toEqual([]);
    expect(fix("a", 2, 12.0015)).toEqual(["jump"]);
    expect(fix("b", 2, 50)).toEqual([]);
    expect(fix("a", 12, 12.0089)).toEqual([]);
    expect(fix("b", 2, 50.0007)).toEqual([]);
    expect(fix("b", 2, 50.0015)).toEqual(["jump"]);
    expect(fix("a", 0, 13)).toEqual(["jump"]);
  });
});

describe("too large after rewriting", () => {
  test("with what a flag adds", () => {
    const filler = (n: number): string => `${at},"x":"${"x".repeat(n)}"`;
    const room = limits.pingBytesMax - filler(0).length - 1;
    expect(read(`${filler(room)}}`)).toMatchObject({ own: true });
    const flagged = `${filler(room - 11)},"speed":-1}`;
    expect(flagged).toHaveLength(limits.pingBytesMax);
    expect(read(flagged)).toEqual({ reason: "too_large" });
  });
  test("in bytes, not characters", () => {
    const body = `${at},"trip":"${"é".repeat(4080)}"}`;
    expect(Buffer.byteLength(body)).toBeGreaterThan(limits.pingBytesMax);
    expect(read(body)).toEqual({ reason: "too_large" });
    const memory = new DriverMemory();
    expect(read(`${at},"trip":"${"\\u00e9".repeat(1000)}"}`, null, memory)).toMatchObject({
      flags: [],
    });
  });
});

describe("identity", () => {
  const nameless = `{"ts":${now},"lat":12.97,"lon":77.59}`;
  test("the same id", () => {
    expect(read(`${at}}`, "d1")).toMatchObject({ own: true, key: "d1" });
  });
  test("another id", () => {
    expect(read(`${at}}`, "d2")).toEqual({ reason: "wrong_identity" });
    expect(read(` ${at}}`, "d10")).toEqual({ reason: "wrong_identity" });
  });
  test("a missing id is filled in", () => {
    expect(read(nameless, "d1")).toMatchObject({ value: `${at}}`, key: "d1" });
    expect(read(nameless, "é:\u{1f697}")).toMatchObject({ key: "é:\u{1f697}" });
    expect(read(nameless, 'a"b\\')).toMatchObject({ key: 'a"b\\' });
  });
  test("null is not missing", () => {
    expect(read(`{"id":null,${nameless.slice(1)}`, "d1")).toEqual({ reason: "bad_id" });
  });
  test("an identity that cannot be an id", () => {
    expect(read(nameless, "a/b")).toEqual({ reason: "bad_id" });
  });
});

test("readObject: the same rules for a ping that is an object already", () => {
  const reader = new PingReader();
  const take = (ping: Record<string, unknown>): unknown =>
    outcome(reader, reader.readObject(ping, now, Buffer.from("u:d"), null), Buffer.alloc(0));
  const ping = { ts: now, lat: 1, lon: 2, speed: undefined, tid: "ab" };
  const value = `{"id":"u:d","ts":${now},"lat":1,"lon":2,"tid":"ab"}`;
  expect(take(ping)).toMatchObject({ value, key: "u:d", flags: [] });
  expect(take({ ...ping, tid: "\ud800" })).toEqual({ reason: "bad_json" });
  let deep: unknown = 1;
  for (let i = 0; i < 10_000; i++) deep = [deep];
  expect(take({ ...ping, deep })).toEqual({ reason: "bad_json" });
  expect(take({ ...ping, lat: "1" })).toEqual({ reason: "bad_position" });
  expect(take({ ...ping, x: "x".repeat(9000) })).toEqual({ reason: "too_large" });
});
