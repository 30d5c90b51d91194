import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BatchBuilder, type Header } from "../../src/batch/builder.ts";
import * as at from "../../src/batch/layout.ts";
import { RecordCursor } from "../../src/batch/records.ts";
import { compressBatch, forms } from "./compress.ts";

type Record = {
  key: Uint8Array | null;
  value: Uint8Array | null;
  ts: number;
  headers: readonly Header[] | null;
};

const text = (s: string): Uint8Array => new TextEncoder().encode(s);

function add(builder: BatchBuilder, r: Record): number {
  const { key, value } = r;
  const keyEnd = key?.length ?? 0;
  return builder.append(key, 0, keyEnd, value, 0, value?.length ?? 0, r.ts, r.headers);
}

function sealed(builder: BatchBuilder): Buffer {
  const out = Buffer.alloc(builder.seal());
  builder.copyTo(out, 0);
  return out;
}

/** An independent reader, in BigInt and after the protocol guide. */
function parse(batch: Buffer): Record[] {
  let p = at.HEADER_BYTES;
  const varint = (): number => {
    let z = 0n;
    let shift = 0n;
    for (;;) {
      const byte = batch[p++];
      z |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) break;
    }
    return Number((z >> 1n) ^ -(z & 1n));
  };
  const bytes = (): Uint8Array | null => {
    const n = varint();
    if (n < 0) return null;
    p += n;
    return Uint8Array.from(batch.subarray(p - n, p));
  };
  const base = Number(batch.readBigInt64BE(at.BASE_TIMESTAMP));
  const records: Record[] = [];
  for (let i = 0; i < batch.readInt32BE(at.RECORD_COUNT); i++) {
    const length = varint();
    const end = p + length;
    expect(batch[p++]).toBe(0);
    const ts = base + varint();
    expect(varint()).toBe(i);
    const key = bytes();
    const value = bytes();
    const headers: Header[] = [];
    for (let n = varint(); n > 0; n--) headers.push([bytes()!, bytes()!]);
    expect(p).toBe(end);
    records.push({ key, value, ts, headers: headers.length === 0 ? null : headers });
  }
  expect(p).toBe(batch.length);
  return records;
}

describe("a batch of one record, byte for byte", () => {
  const builder = new BatchBuilder();
  add(builder, { key: text("d1"), value: text("{}"), ts: 1_700_000_000_000, headers: null });
  const batch = sealed(builder);
  const rows: [what: string, from: number, to: number, hex: string][] = [
    ["base offset", 0, 8, "0000000000000000"],
    ["batch length", 8, 12, "0000003c"],
    ["leader epoch", 12, 16, "ffffffff"],
    ["magic", 16, 17, "02"],
    ["attributes", 21, 23, "0000"],
    ["last offset delta", 23, 27, "00000000"],
    ["base timestamp", 27, 35, "0000018bcfe56800"],
    ["max timestamp", 35, 43, "0000018bcfe56800"],
    ["producer id", 43, 51, "ffffffffffffffff"],
    ["producer epoch", 51, 53, "ffff"],
    ["base sequence", 53, 57, "ffffffff"],
    ["count", 57, 61, "00000001"],
    ["record length 10", 61, 62, "14"],
    ["attributes, timestamp delta, offset delta", 62, 65, "000000"],
    ["key", 65, 68, "046431"],
    ["value", 68, 71, "047b7d"],
    ["no headers", 71, 72, "00"],
  ];
  test.each(rows)("%s", (_what, from, to, hex) => {
    expect(batch.toString("hex", from, to)).toBe(hex);
  });
  test("CRC-32C of attributes to end", () => {
    expect(batch.readUInt32BE(at.CRC)).toBe(crc32c(batch.subarray(at.ATTRIBUTES)));
    expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  });
});

test("append returns the record's index and takes only its ranges", () => {
  const builder = new BatchBuilder();
  const source = text("..key..value..");
  expect(builder.append(source, 2, 5, source, 7, 12, 5, null)).toBe(0);
  expect(builder.append(null, 0, 0, null, 0, 0, 6, null)).toBe(1);
  const [first, second] = parse(sealed(builder));
  expect(first).toMatchObject({ key: text("key"), value: text("value"), ts: 5 });
  expect(second).toMatchObject({ key: null, value: null, ts: 6 });
});

test("timestamps may go backwards, and far", () => {
  const builder = new BatchBuilder();
  const times = [1_700_000_000_000, 1_699_999_999_999, 0, 4_000_000_000_000, 1_700_000_000_001];
  for (const ts of times) add(builder, { key: null, value: text("x"), ts, headers: null });
  const batch = sealed(builder);
  expect(parse(batch).map((r) => r.ts)).toEqual(times);
  expect(Number(batch.readBigInt64BE(at.MAX_TIMESTAMP))).toBe(4_000_000_000_000);
});

test("any records come back as they went in, batch after batch in one builder", () => {
  const builder = new BatchBuilder();
  const bytes = fc.uint8Array({ maxLength: 300 });
  const record = fc.record({
    key: fc.option(bytes),
    value: fc.option(fc.oneof(bytes, fc.uint8Array({ minLength: 8000, maxLength: 9000 }))),
    ts: fc.oneof(fc.integer({ min: 0, max: 2 ** 43 }), fc.integer({ min: -1, max: 3 })),
    headers: fc.option(fc.array(fc.tuple(bytes, bytes), { minLength: 1, maxLength: 3 })),
  });
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 200 }), (records) => {
      builder.reset();
      for (const [i, r] of records.entries()) expect(add(builder, r)).toBe(i);
      expect(builder.count).toBe(records.length);
      const batch = sealed(builder);
      expect(batch.length).toBe(builder.bytes);
      expect(batch.readInt32BE(at.BATCH_LENGTH)).toBe(batch.length - at.LENGTH_OVERHEAD);
      expect(batch.readInt32BE(at.LAST_OFFSET_DELTA)).toBe(records.length - 1);
      expect(batch.readUInt32BE(at.CRC)).toBe(crc32c(batch.subarray(at.ATTRIBUTES)));
      expect(parse(batch)).toEqual(records);
    }),
    { numRuns: 50 },
  );
});

test("after a spike the next batches are still right", () => {
  const builder = new BatchBuilder();
  add(builder, { key: null, value: new Uint8Array(500_000).fill(7), ts: 1, headers: null });
  builder.seal();
  for (let i = 0; i < 1000; i++) {
    builder.reset();
    add(builder, { key: text(`k${i}`), value: new Uint8Array(i * 10), ts: i, headers: null });
    const [record] = parse(sealed(builder));
    expect(record).toMatchObject({ key: text(`k${i}`), ts: i });
    expect(record.value).toHaveLength(i * 10);
  }
});

test("copied records are the same with one header more, whoever has sent them", () => {
  const builder = new BatchBuilder();
  const copies = new BatchBuilder();
  const cursor = new RecordCursor();
  // name "n", value "v" as they stand in a record
  const header = Buffer.from([2, 0x6e, 2, 0x76]);
  const bytes = fc.uint8Array({ maxLength: 70 });
  const record = fc.record({
    key: fc.option(bytes),
    // lengths around those where a record's own length grows by a byte
    value: fc.option(fc.oneof(bytes, fc.uint8Array({ minLength: 8100, maxLength: 8200 }))),
    ts: fc.integer({ min: 0, max: 2 ** 43 }),
    headers: fc.option(fc.array(fc.tuple(bytes, bytes), { minLength: 1, maxLength: 70 })),
  });
  const producer = { id: 2 ** 40 + 7, epoch: 3, sequence: 2 ** 31 - 1 };
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 40 }),
      fc.constantFrom(...forms),
      (records, form) => {
        builder.reset();
        for (const r of records) add(builder, r);
        cursor.open(compressBatch(sealed(builder), form));
        copies.reset();
        while (cursor.next()) copies.copy(cursor, header, header.length);
        copies.seal(producer);
        const batch = Buffer.from(copies.sealed());
        expect(batch.readUInt32BE(at.CRC)).toBe(crc32c(batch.subarray(at.ATTRIBUTES)));
        expect(Number(batch.readBigInt64BE(at.PRODUCER_ID))).toBe(producer.id);
        expect(batch.readInt16BE(at.PRODUCER_EPOCH)).toBe(3);
        expect(batch.readInt32BE(at.BASE_SEQUENCE)).toBe(2 ** 31 - 1);
        const more = ({ headers }: Record) => [...(headers ?? []), [text("n"), text("v")]];
        expect(parse(batch)).toEqual(records.map((r) => ({ ...r, headers: more(r) })));
      },
    ),
    { numRuns: 60 },
  );
});
