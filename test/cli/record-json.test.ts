import { expect, test } from "vitest";
import { recordJson } from "../../src/cli/record-json.ts";

const record = { partition: 3, offset: 9, timestamp: 1, key: null, value: null, headers: [] };

test("text is text, other bytes are base64, nothing is null", () => {
  const bytes = Buffer.from([0xff, 0]);
  expect(
    recordJson("t", {
      ...record,
      key: Buffer.from("d1"),
      value: Buffer.from("\ufeffé"),
      headers: [
        ["a", Buffer.from("1")],
        ["a", bytes],
      ],
    }),
  ).toEqual({
    topic: "t",
    partition: 3,
    offset: 9,
    timestamp: 1,
    key: "d1",
    value: "\ufeffé",
    headers: [
      ["a", "1"],
      ["a", { base64: "/wA=" }],
    ],
  });
  expect(recordJson("t", { ...record, value: bytes })).toMatchObject({
    key: null,
    value: { base64: "/wA=" },
  });
  expect(recordJson("t", { ...record, value: new Uint8Array(0) })).toMatchObject({ value: "" });
  expect(recordJson("t", record)).toMatchObject({ key: null, value: null, headers: [] });
});
