import { describe, expect, test } from "vitest";
import { osmandJsonToPing, osmandToPing } from "../../src/codec/osmand.ts";
import { PingReader } from "../../src/codec/ping.ts";
import { now, outcome } from "./read.ts";

const reader = new PingReader();
const result = (ping: Record<string, unknown> | string): unknown =>
  typeof ping === "string"
    ? ping
    : outcome(reader, reader.readObject(ping, now, null, null), Buffer.alloc(0));
const query = (text: string): unknown => result(osmandToPing(new URLSearchParams(text)));
const json = (body: string): unknown => result(osmandJsonToPing(Buffer.from(body)));

const head = `{"id":"7","ts":${now},"lat":12.97,"lon":77.59`;
const at = `id=7&timestamp=${now}&lat=12.97&lon=77.59`;

describe("query parameters", () => {
  const rows: [given: string, stored: string][] = [
    [at, `${head}}`],
    [`deviceid=7&timestamp=${now / 1000}&location=12.97,77.59`, `${head}}`],
    ["id=7&timestamp=2025-11-21T12:00:00Z&lat=12.97&lon=77.59", `${head}}`],
    ["id=7&timestamp=2025-11-21%2017:30:00%2B0530&lat=12.97&lon=77.59", `${head}}`],
    [
      `${at}&speed=10&bearing=90&altitude=900&accuracy=4.5&batt=80`,
      `${head},"speed":5.1444,"heading":90,"accuracy":4.5,"altitude":900,"battery":0.8}`,
    ],
    [`${at}&heading=360`, `${head},"heading":0}`],
    [
      `${at}&hdop=1.2&charge=true&driverUniqueId=007`,
      `${head},"hdop":1.2,"charge":true,"driverUniqueId":"007"}`,
    ],
    [`${at}&speed=-1`, `${head},"raw.speed":-1,"flags":["field"]}`],
    [`${at}&speed=`, `${head},"raw.speed":"","flags":["field"]}`],
    [`${at}&speed=1e999`, `${head},"raw.speed":"1e999","flags":["field"]}`],
    [`lat=1&${at}`, `${head}}`],
    [`${at}&__proto__=x`, `${head},"__proto__":"x"}`],
  ];
  test.each(rows)("%s", (given, stored) => {
    expect(query(given)).toMatchObject({ value: stored, key: "7" });
  });

  test.each([
    [`timestamp=${now}&lat=1&lon=1`, "bad_id"],
    [`id=7&timestamp=${now}&lat=&lon=1`, "bad_position"],
    [`id=7&timestamp=${now}&lat=x&lon=1`, "bad_position"],
    [`id=7&timestamp=${now}&lat=0x10&lon=1`, "bad_position"],
    [`id=7&timestamp=${now}&location=1`, "bad_position"],
    [`id=7&timestamp=${now}&location=1,2,3`, "bad_position"],
    ["id=7&lat=1&lon=1", "bad_time"],
    ["id=7&lat=1&lon=1&timestamp=now", "bad_time"],
    ["", "bad_id"],
  ])("%s: %s", (given, reason) => {
    expect(query(given)).toEqual({ reason });
  });
});

describe("JSON of the newer client", () => {
  const coords = '"latitude":12.97,"longitude":77.59';
  const time = '"timestamp":"2025-11-21T12:00:00.000Z"';
  test("as it is sent", () => {
    const body =
      `{"location":{${time},"coords":{${coords},"speed":5.5,"heading":-1,"accuracy":4,` +
      '"altitude":900.1},"battery":{"level":0.93,"is_charging":true},"odometer":1200.5,' +
      '"activity":{"type":"in_vehicle"},"extras":{},"event":"motionchange"},"device_id":"7"}';
    expect(json(body)).toMatchObject({
      key: "7",
      flags: [],
      value:
        `${head},"speed":5.5,"accuracy":4,"altitude":900.1,"battery":0.93,"odometer":1200.5,` +
        '"activity":{"type":"in_vehicle"},"extras":{},"event":"motionchange","is_charging":true}',
    });
  });
  test.each([
    [`{"location":{${time},"coords":{${coords}}}}`, { reason: "bad_id" }],
    [`{"device_id":"7","location":{${time}}}`, { reason: "bad_position" }],
    [`{"device_id":"7","location":{${time},"coords":[1,2]}}`, { reason: "bad_position" }],
    [`{"device_id":"7","location":{"coords":{${coords}}}}`, { reason: "bad_time" }],
    ['{"device_id":"7"}', { reason: "bad_position" }],
    ["{", "bad_json"],
    ["[]", "bad_json"],
    [`{"x":"${"x".repeat(9000)}"}`, "too_large"],
  ])("%s", (body, expected) => {
    expect(json(body)).toEqual(expected);
  });
});
