/** What encodings write, read again as Encodings.md says it; and Thrift's compact protocol. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteWriter } from "../../../src/sinks/parquet/byte-writer.ts";
import {
  areNear,
  bitsOf,
  byteStreamSplit,
  definitionLevels,
  deltaBinaryPacked,
  hybrid,
} from "../../../src/sinks/parquet/encodings.ts";
import {
  binary,
  bool,
  i32,
  i64,
  list,
  type Read,
  readStruct,
  struct,
  text,
} from "../../../src/sinks/parquet/thrift.ts";

class Reader {
  at = 0;
  readonly bytes: Uint8Array;

  constructor(out: ByteWriter) {
    this.bytes = out.written();
  }

  varint(): bigint {
    for (let value = 0n, shift = 0n; ; shift += 7n) {
      const byte = this.bytes[this.at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  zigzag(): bigint {
    const value = this.varint();
    return (value >> 1n) ^ -(value & 1n);
  }

  /** From the lowest bit of a byte to its highest. */
  packed(count: number, width: number): bigint[] {
    const values = Array.from({ length: count }, (_, i) => {
      let value = 0n;
      for (let bit = 0; bit < width; bit++) {
        const place = i * width + bit;
        const is = (this.bytes[this.at + (place >> 3)] >> (place & 7)) & 1;
        value |= BigInt(is) << BigInt(bit);
      }
      return value;
    });
    this.at += (count * width) / 8;
    return values;
  }

  hybrid(count: number, width: number): number[] {
    const values: number[] = [];
    while (values.length < count) {
      const head = Number(this.varint());
      if ((head & 1) === 1) values.push(...this.packed((head >> 1) * 8, width).map(Number));
      else {
        const bytes = Math.ceil(width / 8);
        const [value] = this.packed(1, bytes * 8);
        for (let i = 0; i < head >> 1; i++) values.push(Number(value));
      }
    }
    return values.slice(0, count);
  }

  delta(): bigint[] {
    const [block, minis, count] = [this.varint(), this.varint(), this.varint()].map(Number);
    const values = [this.zigzag()];
    while (values.length < count) {
      const min = this.zigzag();
      const widths = Array.from({ length: minis }, () => this.bytes[this.at++]);
      for (const width of widths) {
        if (values.length >= count) break;
        for (const delta of this.packed(block / minis, width)) {
          values.push((values.at(-1) as bigint) + min + delta);
        }
      }
    }
    return values.slice(0, count);
  }
}

/** Runs as well as what changes from value to value. */
const runs = (max: number) =>
  fc
    .array(fc.tuple(fc.integer({ min: 0, max }), fc.integer({ min: 1, max: 40 })), {
      minLength: 1,
      maxLength: 60,
    })
    .map((all) => all.flatMap(([value, count]) => Array.from({ length: count }, () => value)));

test("RLE / bit-packing hybrid", () => {
  const indices = fc.integer({ min: 1, max: 24 }).chain((width) =>
    fc.record({
      width: fc.constant(width),
      values: fc.oneof(
        runs(2 ** width - 1),
        fc.array(fc.integer({ min: 0, max: 2 ** width - 1 }), { minLength: 1 }),
      ),
    }),
  );
  fc.assert(
    fc.property(indices, ({ width, values }) => {
      const out = new ByteWriter(1);
      hybrid(out, Int32Array.from(values), values.length, width);
      const reader = new Reader(out);
      expect(reader.hybrid(values.length, width)).toEqual(values);
      expect(reader.at).toBe(out.end);
    }),
  );
});

test("definition levels stand behind their length", () => {
  fc.assert(
    fc.property(runs(1), fc.boolean(), (levels, known) => {
      const out = new ByteWriter(1);
      definitionLevels(out, known ? Int32Array.from(levels) : null, levels.length);
      const reader = new Reader(out);
      expect(Number(reader.packed(1, 32)[0])).toBe(out.end - 4);
      const all = levels.map(() => 1);
      expect(reader.hybrid(levels.length, 1)).toEqual(known ? levels : all);
    }),
  );
});

test("DELTA_BINARY_PACKED, of differences of any width", () => {
  const values = fc.integer({ min: 0, max: 51 }).chain((bits) => {
    const around = fc.integer({ min: -Math.floor(2 ** bits / 2), max: Math.floor(2 ** bits / 2) });
    return fc.array(around, { minLength: 1, maxLength: 700, size: "max" });
  });
  fc.assert(
    fc.property(values, fc.integer({ min: -(2 ** 51), max: 2 ** 51 }), (some, base) => {
      const all = Float64Array.from(some, (value) => value + base);
      fc.pre(areNear(Math.min(...all), Math.max(...all)));
      const out = new ByteWriter(1);
      deltaBinaryPacked(out, all, all.length);
      const reader = new Reader(out);
      expect(reader.delta()).toEqual(Array.from(all, BigInt));
      expect(reader.at).toBe(out.end);
    }),
    { numRuns: 60 },
  );
});

test("which values are too far from each other for it", () => {
  expect(areNear(-(2 ** 51), 2 ** 51)).toBe(true);
  expect(areNear(-(2 ** 51), 2 ** 51 + 1)).toBe(false);
  expect(areNear(2 ** 53, 2 ** 53)).toBe(false);
  expect([0, 1, 255, 256, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1].map(bitsOf)).toEqual([
    0, 1, 8, 9, 32, 33, 53,
  ]);
});

test("BYTE_STREAM_SPLIT", () => {
  const out = new ByteWriter(1);
  byteStreamSplit(out, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), 2, 4);
  expect([...out.written()]).toEqual([1, 5, 2, 6, 3, 7, 4, 8]);
});

test("int64 is two's complement, whatever a double holds exactly", () => {
  const values = fc.oneof(
    fc.maxSafeInteger(),
    fc.integer({ min: -1024, max: 1023 }).map((n) => n * 2 ** 53),
  );
  fc.assert(
    fc.property(values, (value) => {
      const out = new ByteWriter(1);
      out.int64(value);
      expect(Buffer.from(out.written()).readBigInt64LE()).toBe(BigInt(value));
    }),
  );
});

test("Thrift: what is written is read", () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.integer(),
      fc.integer({ min: -(2 ** 52), max: 2 ** 52 }),
      fc.string({ unit: "grapheme" }),
      fc.array(fc.integer(), { minLength: 1, maxLength: 40 }),
      (yes, small, large, words, many) => {
        const out = new ByteWriter(1);
        struct(
          [1, bool(yes)],
          [2, i32(small)],
          null,
          [40, i64(large)],
          [41, struct([3, text(words)])],
          [42, list(many.map(i32))],
          [43, list(many.map((n) => struct([1, binary(Uint8Array.of(n & 255))])))],
        ).write(out);
        const read = readStruct(out.written());
        const bytes = (read.get(41) as Map<number, Read>).get(3) as Uint8Array;
        expect(Buffer.from(bytes).toString()).toBe(words);
        expect([1, 2, 40, 42].map((id) => read.get(id))).toEqual([yes, small, BigInt(large), many]);
        const inner = (read.get(43) as Map<number, Uint8Array>[]).map((one) => one.get(1)?.[0]);
        expect(inner).toEqual(many.map((n) => n & 255));
      },
    ),
  );
});

test("Thrift: bytes that are none are a RangeError, soon", () => {
  const nested = Buffer.alloc(100_000, 0x1c);
  const long = Buffer.from([0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x7f]);
  for (const bytes of [nested, long, Buffer.alloc(0), Buffer.of(0x18, 0x7f)]) {
    expect(() => readStruct(bytes)).toThrow(RangeError);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      try {
        expect(readStruct(bytes)).toBeInstanceOf(Map);
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError);
      }
    }),
    { numRuns: 2000 },
  );
});
