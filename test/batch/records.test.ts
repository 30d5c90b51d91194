import fc from "fast-check";
import { expect, test } from "vitest";
import { BatchBuilder } from "../../src/batch/builder.ts";
import { filterBatch } from "../../src/batch/filter.ts";
import { baseOffset, lastOffsetDelta, setCrc, stamp, verifyBatch } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { MilepostError } from "../../src/model/errors.ts";

const bytes = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null });
const record = fc.record({
  key: bytes,
  value: bytes,
  timestamp: fc.integer({ min: 0, max: 2 ** 42 }),
  headers: fc.array(fc.tuple(fc.string(), fc.uint8Array({ maxLength: 20 })), { maxLength: 3 }),
});

type Made = typeof record extends fc.Arbitrary<infer T> ? T : never;

function build(records: Made[]): Uint8Array {
  const builder = new BatchBuilder();
  for (const { key, value, timestamp, headers } of records) {
    const raw = headers.map(([name, v]) => [Buffer.from(name), v] as const);
    const [k, v] = [key?.length ?? 0, value?.length ?? 0];
    builder.append(key, 0, k, value, 0, v, timestamp, raw.length === 0 ? null : raw);
  }
  const batch = new Uint8Array(builder.seal());
  builder.copyTo(batch, 0);
  return batch;
}

const plain = (b: Uint8Array | null): number[] | null => (b === null ? null : [...b]);

test("what the builder writes is what is read", () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 40 }), fc.nat(2 ** 48), (all, base) => {
      const batch = build(all);
      stamp(batch, base, 3);
      expect(verifyBatch(batch)).toBe(true);
      const read = [...recordsOf(batch)];
      expect(read.map((r) => [r.offset, r.timestamp, plain(r.key), plain(r.value)])).toEqual(
        all.map((r, i) => [base + i, r.timestamp, plain(r.key), plain(r.value)]),
      );
      const headers = (list: [string, Uint8Array][]) => list.map(([n, v]) => [n, [...v]]);
      // a lone surrogate in a name is not kept by UTF-8
      expect(read.map((r) => headers(r.headers))).toEqual(
        all.map((r) => headers(r.headers.map(([n, v]) => [Buffer.from(n).toString(), v]))),
      );
    }),
  );
});

test("a filtered batch keeps offsets, times and bytes of what stays", () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), fc.nat(), (all, mask) => {
      const batch = build(all);
      stamp(batch, 1000, 3);
      const keep = (offset: number): boolean => ((mask >> (offset - 1000)) & 1) === 1;
      const { batch: out, records } = filterBatch(batch, (r) => keep(r.offset));
      expect(verifyBatch(out)).toBe(true);
      expect([baseOffset(out), lastOffsetDelta(out)]).toEqual([1000, all.length - 1]);
      const read = [...recordsOf(out)];
      expect(read).toHaveLength(records);
      expect(read).toEqual([...recordsOf(batch)].filter((r) => keep(r.offset)));
    }),
  );
});

test("any bytes after the header: records or invalid_record, never a crash", () => {
  const batch = build([
    { key: Buffer.from("k"), value: Buffer.alloc(50), timestamp: 1, headers: [] },
  ]);
  fc.assert(
    fc.property(fc.nat(batch.length - 62), fc.nat(255), (at, byte) => {
      const bad = batch.slice();
      bad[61 + at] = byte;
      setCrc(bad);
      try {
        for (const r of recordsOf(bad)) expect(r.offset).toBeTypeOf("number");
      } catch (error) {
        expect(error).toBeInstanceOf(MilepostError);
      }
    }),
  );
});
