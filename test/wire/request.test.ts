import { expect, test } from "vitest";
import { readRequest } from "../../src/wire/api.ts";
import { listGroups } from "../../src/wire/apis/list-groups.ts";
import { metadata } from "../../src/wire/apis/metadata.ts";
import { Malformed, Reader } from "../../src/wire/reader.ts";

const read = (version: number, ...bytes: number[]) =>
  readRequest(listGroups, version, new Reader(Buffer.from(bytes)));

test("what librdkafka 2.0 sends: two empty sets of tagged fields", () => {
  expect(read(4, 1, 0, 0)).toEqual(read(4, 1, 0));
});

test("what librdkafka 2.16 sends: a null array, and the rest of the room for its length", () => {
  const body = Buffer.from([0, 0, 0, 0, 1, 0, 0]);
  expect(readRequest(metadata, 12, new Reader(body)).topics).toBeNull();
});

test("nothing else may follow a request", () => {
  expect(() => read(4, 1, 0, 0, 0, 0, 0)).toThrow(Malformed);
  expect(() => read(2, 0)).toThrow(Malformed);
});
