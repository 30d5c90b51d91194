import fc from "fast-check";
import { expect, test } from "vitest";
import { opening, PingWriter } from "../../devices/ping.ts";

const order = "id ts lat lon speed heading accuracy altitude battery trip seq".split(" ");

const writer = new PingWriter();

function text(...args: Parameters<PingWriter["write"]>): string {
  writer.write(...args);
  return writer.copy().toString();
}

test("a ping, field by field", () => {
  const fix = {
    ts: 1_792_000_000_123,
    lat: 12.971599,
    lon: -77.5945,
    speed: 12.34,
    heading: 0,
    accuracy: 4,
    altitude: -3.25,
    battery: 0.87,
  };
  expect(text(opening("blr-00042"), fix, "blr-00042-t", 7)).toBe(
    '{"id":"blr-00042","ts":1792000000123,"lat":12.971599,"lon":-77.5945,"speed":12.3,' +
      '"heading":0,"accuracy":4,"altitude":-3.2,"battery":0.87,"trip":"blr-00042-t","seq":7}',
  );
  expect(text(opening("a"), fix, null, 8)).not.toContain("trip");
});

test("is canonical JSON: the order of the fields, the numbers as JSON prints them", () => {
  const coordinate = (limit: number) =>
    fc.double({ min: -limit, max: limit, noNaN: true, noDefaultInfinity: true });
  const fix = fc.record({
    ts: fc.integer({ min: 1_000_000_000_000, max: 4_000_000_000_000 }),
    lat: coordinate(90),
    lon: coordinate(180),
    speed: fc.double({ min: 0, max: 150, noNaN: true }),
    heading: fc.integer({ min: 0, max: 359 }),
    accuracy: fc.double({ min: 0, max: 100_000, noNaN: true }),
    altitude: fc.double({ min: -500, max: 20_000, noNaN: true }),
    battery: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fix, fc.boolean(), fc.integer({ min: 1, max: 2 ** 53 - 1 }), (f, onTrip, seq) => {
      const written = text(opening('d"1'), f, onTrip ? "t-1" : null, seq);
      const read = JSON.parse(written);
      expect(JSON.stringify(read)).toBe(written);
      expect(Object.keys(read)).toEqual(order.filter((name) => onTrip || name !== "trip"));
      expect([read.id, read.ts, read.seq]).toEqual(['d"1', f.ts, seq]);
      expect(Math.abs(read.lat - f.lat)).toBeLessThan(1e-6);
      expect(Math.abs(read.lon - f.lon)).toBeLessThan(1e-6);
      expect(Math.abs(read.altitude - f.altitude)).toBeLessThan(0.1);
    }),
  );
});
