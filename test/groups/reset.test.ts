import { expect, test } from "vitest";
import { parseResetTarget } from "../../src/groups/reset.ts";

test.each([
  ["earliest", { kind: "earliest" }],
  ["latest", { kind: "latest" }],
  ["17", { kind: "offset", offset: 17 }],
  ["+5", { kind: "shift", by: 5 }],
  ["-5", { kind: "shift", by: -5 }],
  ["@1795248000000", { kind: "time", timeMs: 1_795_248_000_000 }],
  ["@2026-11-21T08:00:00Z", { kind: "time", timeMs: Date.UTC(2026, 10, 21, 8) }],
])("--to %s", (text, target) => {
  expect(parseResetTarget(text)).toEqual(target);
});

test.each(["", "soon", "1.5", "+", "--5", "@", "@soon", " 1", "1e3"])("--to %j is none", (text) => {
  expect(parseResetTarget(text)).toBeNull();
});
