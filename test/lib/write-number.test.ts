import fc from "fast-check";
import { expect, it } from "vitest";
import { writeDecimal, writeInteger } from "../../src/lib/write-number.ts";

const target = Buffer.alloc(64);
const text = (write: typeof writeDecimal, n: number): string =>
  target.toString("latin1", 3, write(target, 3, n));

it("whole numbers are written as they are", () => {
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeNat(), fc.nat(2_000_000), fc.integer()), (n) => {
      expect(text(writeInteger, n)).toBe(String(n));
    }),
  );
  for (const n of [
    0,
    9,
    10,
    999_999,
    1_000_000,
    1_000_001,
    1e12,
    2 ** 53 - 1,
    2 ** 53,
    0.5,
    1e300,
  ]) {
    expect(text(writeInteger, n)).toBe(String(n));
  }
});

it("degrees are the same number when read again, with few places in few bytes", () => {
  const few = fc.tuple(fc.integer({ min: -1_800_000_000, max: 1_800_000_000 }), fc.nat(7));
  fc.assert(
    fc.property(few, ([n, places]) => {
      const x = n / 10 ** places;
      expect(Number(text(writeDecimal, x))).toBe(x === 0 ? 0 : x);
      expect(text(writeDecimal, x).length).toBeLessThanOrEqual(String(n).length + 9);
    }),
  );
  fc.assert(
    fc.property(fc.double({ min: -180, max: 180, noNaN: true }), (x) => {
      const written = text(writeDecimal, x);
      expect(JSON.parse(written)).toBe(x === 0 ? JSON.parse(written) : x);
    }),
  );
  expect(
    [77.5946, -0.5, 12.9716, 180, -90, 0, -0, 5e-324, 1e-7].map((x) => text(writeDecimal, x)),
  ).toEqual(["77.5946", "-0.5", "12.9716", "180", "-90", "0", "0", "5e-324", "0.0000001"]);
});
