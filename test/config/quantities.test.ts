import { expect, test } from "vitest";
import { nearest } from "../../src/config/nearest.ts";
import { parseDuration, parseSize } from "../../src/config/quantities.ts";

test.each([
  ["500ms", 500],
  ["90s", 90_000],
  ["10m", 600_000],
  ["1.5h", 5_400_000],
  ["7d", 604_800_000],
  ["0s", 0],
  ["10", null],
  ["-1s", null],
  ["1w", null],
  ["m", null],
  ["", null],
  ["9999999999999999d", null],
])("duration %j", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  ["1GiB", 2 ** 30],
  ["512M", 512 * 2 ** 20],
  ["20MB", 20e6],
  ["20 mb", 20e6],
  ["4096", 4096],
  ["1.5k", 1536],
  ["-1", null],
  ["1XB", null],
  ["NaN", null],
])("size %j", (text, bytes) => expect(parseSize(text)).toBe(bytes));

test("a typo finds the word it meant, a stranger finds none", () => {
  const words = ["serve", "demo", "devices", "topics"];
  expect(nearest("sevre", words)).toBe("serve");
  expect(nearest("server", words)).toBe("serve");
  expect(nearest("topcs", words)).toBe("topics");
  expect(nearest("elephant", words)).toBe(null);
});
