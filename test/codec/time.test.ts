import { expect, test } from "vitest";
import { fixTime } from "../../src/codec/time.ts";

const noon = Date.UTC(2025, 10, 21, 12);

test.each([
  [noon, noon],
  [noon + 0.4, noon],
  [noon / 1000, noon],
  [noon / 1000 + 0.25, noon + 250],
  [0, 0],
  [99_999_999_999, 99_999_999_999_000],
  [100_000_000_000, 100_000_000_000],
  [-5, -5000],
  ["2025-11-21T12:00:00Z", noon],
  ["2025-11-21T12:00:00.123Z", noon + 123],
  ["2025-11-21T12:00:00,5Z", noon + 500],
  ["2025-11-21T12:00:00.123456789Z", noon + 123],
  ["2025-11-21T12:00Z", noon],
  ["2025-11-21 12:00:00", noon],
  ["2025-11-21T12:00:00", noon],
  ["2025-11-21t17:30:00+05:30", noon],
  ["2025-11-21T17:30:00+0530", noon],
  ["2025-11-21T07:00:00-05", noon],
  ["2025-11-21", Date.UTC(2025, 10, 21)],
])("%s", (given, ms) => {
  expect(fixTime(given)).toBe(ms);
});

test.each([
  [undefined],
  [null],
  [true],
  [[]],
  [{}],
  [""],
  ["now"],
  [String(noon)],
  ["2025-11-21T25:00:00Z"],
  ["2025-02-30T99:00:00Z"],
  ["21 Nov 2025"],
  [Number.NaN],
  [Infinity],
  [-Infinity],
  [1e16],
  [-1e13],
])("no time: %s", (given) => {
  expect(fixTime(given)).toBeNull();
});
