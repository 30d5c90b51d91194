import { expect, test } from "vitest";
import { parseStart } from "../../src/cli/start.ts";

test.each([
  ["earliest", "earliest"],
  ["latest", "latest"],
  ["0", { offset: 0 }],
  ["9007199254740", { offset: 9_007_199_254_740 }],
  ["@1795248000000", { timeMs: 1_795_248_000_000 }],
  ["@2026-11-21T08:00:00Z", { timeMs: Date.UTC(2026, 10, 21, 8) }],
  ["@2026-11-21T09:00:00+01:00", { timeMs: Date.UTC(2026, 10, 21, 8) }],
  // without a zone it is UTC, wherever this runs
  ["@2026-11-21T08:00", { timeMs: Date.UTC(2026, 10, 21, 8) }],
  ["@2026-11-21", { timeMs: Date.UTC(2026, 10, 21) }],
])("--from %s", (text, start) => {
  expect(parseStart(text)).toEqual(start);
});

test.each(["", "-1", "first", "1.5", "@", "@yesterday", "@2026-13-01", "10e3"])(
  "--from %j makes no sense",
  (text) => {
    expect(() => parseStart(text)).toThrow(/--from: expected earliest, latest, an offset/);
  },
);
