import fc from "fast-check";
import { expect, test } from "vitest";
import { tripHashOf } from "../../src/live/live-ping.ts";
import { readPing } from "./fixture.ts";

const ping = fc.record(
  {
    id: fc.constantFrom("42", "drv-1", 'quo"te', "ключ"),
    ts: fc.nat(2_000_000_000_000),
    lat: fc.double({ min: -90, max: 90, noNaN: true }),
    lon: fc.double({ min: -180, max: 180, noNaN: true }),
    speed: fc.double({ min: 0, max: 150, noNaN: true }),
    trip: fc.string({ maxLength: 20 }),
    seq: fc.nat(),
    note: fc.jsonValue({ maxDepth: 2 }),
    __proto__: fc.jsonValue({ maxDepth: 1 }),
  },
  { requiredKeys: ["id", "ts", "lat", "lon"] },
);

test("canonical or not, it is read as JSON says", () => {
  const spaces = fc.constantFrom(0, 1, 2);
  fc.assert(
    fc.property(ping, spaces, fc.nat(2_000_000_000_000), (sent, indent, received) => {
      const text = JSON.stringify(sent, null, indent);
      const ping = JSON.parse(text) as typeof sent;
      const read = readPing(sent.id, text, received);
      if (read === null) throw new Error("not read");
      const { ts, lat, lon, ...rest } = ping;
      expect([read.ts, read.lat + 0, read.lon + 0]).toEqual([ts, lat + 0, lon + 0]);
      expect(read.received).toBe(received);
      expect(read.fix).toBe(Math.min(ts, received));
      expect(Buffer.from(read.key).toString("utf8", read.keyStart, read.keyEnd)).toBe(sent.id);
      const members = Buffer.from(read.rest).toString("utf8", read.restStart, read.restEnd);
      expect(JSON.parse(`{"id":${JSON.stringify(sent.id)}${members}}`)).toEqual(rest);
      expect(JSON.parse(`${read.json()}}`)).toEqual(ping);
      expect(read.tripHash).toBe(ping.trip === undefined ? 0 : tripHashOf(ping.trip));
    }),
    { numRuns: 500 },
  );
});

const good = '{"id":"42","ts":1000,"lat":12.5,"lon":77.5}';

test("digits beyond what a number holds stay as they are", () => {
  const text = '{"id":"42","ts":1,"lat":1,"lon":2,"serial":123456789012345678901234567890}';
  const read = readPing("42", text, 5);
  expect(`${read?.json()}}`).toBe(text);
});

test.each([
  ["no key", null, good],
  ["no value", "42", null],
  ["another key", "43", good],
  ["a longer key", "421", good],
  ["an empty value", "42", ""],
  ["no JSON", "42", "{"],
  ["an array", "42", "[]"],
  ["bytes behind", "42", `${good}x`],
  ["no id", "42", '{"ts":1,"lat":1,"lon":2}'],
  ["an id that is a number", "42", '{"id":42,"ts":1,"lat":1,"lon":2}'],
  ["an id that is none", "a/b", '{"id":"a/b","ts":1,"lat":1,"lon":2}'],
  ["no time", "42", '{"id":"42","lat":1,"lon":2}'],
  ["a time before 1970", "42", '{"id":"42","ts":-1,"lat":1,"lon":2}'],
  ["a time that is text", "42", '{"id":"42","ts":"1","lat":1,"lon":2}'],
  ["a time that no number holds", "42", '{"id":"42","ts":1e300,"lat":1,"lon":2}'],
  ["no position", "42", '{"id":"42","ts":1}'],
  ["a latitude beyond the pole", "42", '{"id":"42","ts":1,"lat":90.1,"lon":2}'],
  ["a longitude beyond", "42", '{"id":"42","ts":1,"lat":1,"lon":-180.5}'],
  ["null", "42", '{"id":"42","ts":1,"lat":null,"lon":2}'],
  ["too large", "42", `${good.slice(0, -1)},"note":"${"n".repeat(8200)}"}`],
])("no ping: %s", (_, key, value) => {
  expect(readPing(key, value, 1000)).toBeNull();
});

test("a time that its producer made up is no later than now", () => {
  const read = readPing("42", '{"id":"42","ts":99000,"lat":1,"lon":2}', 88_000, 50_000);
  expect([read?.received, read?.fix, read?.ts]).toEqual([50_000, 50_000, 99_000]);
});
