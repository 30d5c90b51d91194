import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { handlers } from "../../src/kafka/apis.ts";
import { readWhole } from "../../src/wire/api.ts";
import { Malformed, Reader } from "../../src/wire/reader.ts";
import type { Type } from "../../src/wire/schema.ts";
import { Writer } from "../../src/wire/writer.ts";
import { fieldsOf, messagesOf, variantsOf, type Message } from "./values.ts";

/** Every message of every API that is served: an API is covered by being in the list. */

const messages = [...handlers.values()].flatMap(({ api }) => messagesOf(api));

function encode({ codec }: Message, value: Record<string, unknown>): Buffer {
  const w = new Writer();
  codec.write(w, value);
  expect(w.bytes.length).toBe(w.length);
  return w.bytes;
}

const ITEMS_MAX = 200;

const decode = ({ codec }: Message, bytes: Buffer): Record<string, unknown> =>
  readWhole(codec, new Reader(bytes, 0, bytes.length, ITEMS_MAX));

/** Byte fields as plain arrays, so that views and copies of the same bytes are equal. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, plain(v)]));
}

function malformed(m: Message, bytes: Buffer): boolean {
  try {
    decode(m, bytes);
    return false;
  } catch (error) {
    if (error instanceof Malformed) return true;
    throw error;
  }
}

describe.each(messages)("$title", (m) => {
  const values = fieldsOf(m.fields, m.version);
  const frames = values.map((value) => encode(m, value));

  test("what is written is read, and what a version lacks has its default", () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encode(m, value);
        const read = decode(m, bytes);
        expect(plain(read)).toEqual(plain(value));
        expect(encode(m, read).equals(bytes)).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  test("a frame cut short or too long is malformed, wherever it is cut", () => {
    fc.assert(
      fc.property(frames, (bytes) => {
        for (let end = 0; end < bytes.length; end++) {
          expect(malformed(m, bytes.subarray(0, end))).toBe(true);
        }
        expect(malformed(m, Buffer.concat([bytes, Buffer.alloc(1)]))).toBe(true);
      }),
      { numRuns: 5 },
    );
  });

  test("bytes that are wrong anywhere are malformed or mean something", () => {
    const wrong = fc.tuple(frames, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 8 }));
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    const spoiled = wrong.map(([frame, at, patch]) => {
      const bytes = Buffer.from(frame);
      bytes.set(
        patch.subarray(0, bytes.length - (at % (bytes.length + 1))),
        at % (bytes.length + 1),
      );
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(spoiled, random), (bytes) => {
        if (malformed(m, bytes)) return;
        const read = decode(m, bytes);
        expect(textIn(read)).toBeLessThanOrEqual(bytes.length);
        // not the same bytes: a boolean of 2, a tagged field nobody knows
        expect(plain(decode(m, encode(m, read)))).toEqual(plain(read));
      }),
      { numRuns: 100 },
    );
  });

  test("null where there may be none is malformed", () => {
    const nulled = variantsOf(m.fields, m.version, ({ nullable, shape }) =>
      nullable === null && ["array", "string", "bytes"].includes(shape.of) ? null : undefined,
    );
    for (const { path, value } of nulled) {
      expect([path, malformed(m, encode(m, value))]).toEqual([path, true]);
    }
  });

  test("an array of too many items is malformed, however small they are", () => {
    const crowded = variantsOf(m.fields, m.version, (type: Type<unknown>, item) =>
      type.shape.of === "array" ? Array.from({ length: ITEMS_MAX + 1 }, item) : undefined,
    );
    for (const { path, value } of crowded) {
      expect([path, malformed(m, encode(m, value))]).toEqual([path, true]);
    }
  });
});

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Bytes of all text and byte fields. */
function textIn(value: unknown): number {
  if (typeof value === "string" && UUID.test(value)) return 0;
  // U+FFFD stands for one byte that was none of UTF-8, and takes three
  if (typeof value === "string") return Buffer.byteLength(value.replaceAll("\uFFFD", "?"));
  if (value instanceof Uint8Array) return value.length;
  if (value === null || typeof value !== "object") return 0;
  return Object.values(value).reduce((sum: number, v) => sum + textIn(v), 0);
}
