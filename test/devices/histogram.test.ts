import fc from "fast-check";
import { expect, test } from "vitest";
import { Histogram } from "../../devices/histogram.ts";

test("percentiles are right within a tenth, the maximum exactly", () => {
  const value = fc.double({ min: 0.002, max: 100_000, noNaN: true });
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 300 }), (values) => {
      const histogram = new Histogram();
      for (const ms of values) histogram.record(ms, 1);
      const sorted = values.toSorted((a, b) => a - b);
      expect(histogram.maxMs).toBe(sorted.at(-1));
      for (const share of [0.5, 0.99, 1]) {
        const exact = sorted[Math.ceil(sorted.length * share) - 1];
        const told = histogram.percentileMs(share);
        expect(told).toBeGreaterThanOrEqual(exact * 0.999_999);
        expect(told).toBeLessThan(exact * 1.1);
      }
    }),
  );
});

test("an empty one is all zero, and so is one that was cleared", () => {
  const histogram = new Histogram();
  expect([histogram.percentileMs(0.5), histogram.maxMs]).toEqual([0, 0]);
  histogram.record(5, 10);
  histogram.clear();
  expect([histogram.total, histogram.percentileMs(0.99), histogram.maxMs]).toEqual([0, 0, 0]);
});
