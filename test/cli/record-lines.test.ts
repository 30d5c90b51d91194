import { createRecordsBatch, readRecordsBatches, Reader } from "@platformatic/kafka";
import { expect, test } from "vitest";
import { jsonLine, recordsOf, valueLine } from "../../src/cli/record-lines.ts";
import type { FetchedBatch } from "../../src/cli/topic-reader.ts";

type Message = { value: Buffer | undefined; key?: Buffer; headers?: Map<Buffer, Buffer> };

function batchOf(messages: Message[], firstTimestamp = 1000n): FetchedBatch {
  const numbered = messages.map((message, i) => ({
    ...message,
    topic: "t",
    timestamp: firstTimestamp + BigInt(i),
  }));
  const bytes = createRecordsBatch(numbered as never).buffer;
  return readRecordsBatches(Reader.from(bytes))[0];
}

const chunk = (batches: FetchedBatch[], from = 0, end = Infinity) => {
  return { partition: 2, from, end, next: 0, batches };
};
const text = (value: string): Message => ({ value: Buffer.from(value) });

test("a record as an object of a line", () => {
  const headers = new Map([[Buffer.from("h"), Buffer.from("1")]]);
  const batch = batchOf([{ value: Buffer.of(0xff), key: Buffer.from("k"), headers }]);
  const [record] = recordsOf(chunk([batch]));
  expect(JSON.parse(jsonLine("t", record))).toEqual({
    topic: "t",
    partition: 2,
    offset: 0,
    timestamp: 1000,
    key: "k",
    value: { base64: "/w==" },
    headers: [["h", "1"]],
  });
});

test.each([
  ["plain", "plain"],
  ["a\tb", "a\tb"],
  ["", ""],
  ["two\nlines", '"two\\nlines"'],
  ["null", '"null"'],
])("the value %j as a line", (value, line) => {
  const [record] = recordsOf(chunk([batchOf([text(value)])]));
  expect(valueLine("t", record)).toBe(`${line}\n`);
});

test("a tombstone as a line", () => {
  const [record] = recordsOf(chunk([batchOf([{ value: undefined, key: Buffer.from("k") }])]));
  expect([record.value, valueLine("t", record)]).toEqual([null, "null\n"]);
});

test("only what was asked for of a batch, and no control records", () => {
  const batch = batchOf(["a", "b", "c", "d"].map(text));
  const values = (from: number, end: number, control = 0) =>
    [...recordsOf(chunk([{ ...batch, attributes: control }], from, end))].map((r) => `${r.value}`);
  expect(values(0, Infinity)).toEqual(["a", "b", "c", "d"]);
  expect(values(1, 3)).toEqual(["b", "c"]);
  expect(values(0, Infinity, 1 << 5)).toEqual([]);
});

test("the time is the broker's where the broker stamped it", () => {
  const batch = batchOf([text("a"), text("b")]);
  const times = (attributes: number) =>
    [...recordsOf(chunk([{ ...batch, attributes }]))].map((r) => r.timestamp);
  expect(times(0)).toEqual([1000, 1001]);
  expect(times(1 << 3)).toEqual([1001, 1001]);
});
