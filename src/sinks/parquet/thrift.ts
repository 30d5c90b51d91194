/**
 * Thrift's compact protocol, as far as Parquet's headers and footers need it. Source: Apache
 * Thrift's doc/specs/thrift-compact-protocol.md.
 */
import type { ByteWriter } from "./byte-writer.ts";

const type = {
  stop: 0,
  yes: 1,
  no: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  set: 10,
  map: 11,
  struct: 12,
} as const;

/** Something that can stand in a field or in a list. */
export type Value = { type: number; write(out: ByteWriter): void };
export type Field = readonly [id: number, value: Value];

export const bool = (value: boolean): Value => {
  return { type: value ? type.yes : type.no, write: () => {} };
};
export const i8 = (value: number): Value => {
  return { type: type.byte, write: (out) => out.byte(value) };
};
export const i32 = (value: number): Value => {
  return { type: type.i32, write: (out) => out.zigzag(value) };
};
export const i64 = (value: number): Value => {
  return { type: type.i64, write: (out) => out.zigzag(value) };
};

export function binary(bytes: Uint8Array): Value {
  return {
    type: type.binary,
    write: (out) => {
      out.varint(bytes.byteLength);
      out.copy(bytes);
    },
  };
}

export const text = (value: string): Value => binary(Buffer.from(value));

/** Of one type. */
export function list(values: Value[]): Value {
  return {
    type: type.list,
    write: (out) => {
      const of = values[0]?.type ?? type.struct;
      if (values.length < 15) out.byte((values.length << 4) | of);
      else {
        out.byte(0xf0 | of);
        out.varint(values.length);
      }
      for (const value of values) value.write(out);
    },
  };
}

/** Fields in the order of their ids. */
export function struct(...fields: (Field | null)[]): Value {
  return {
    type: type.struct,
    write: (out) => {
      let last = 0;
      for (const field of fields) {
        if (field === null) continue;
        const [id, value] = field;
        const step = id - last;
        if (step <= 15) out.byte((step << 4) | value.type);
        else {
          out.byte(value.type);
          out.zigzag(id);
        }
        value.write(out);
        last = id;
      }
      out.byte(type.stop);
    },
  };
}

export type Struct = Map<number, Read>;
export type Read = boolean | number | bigint | Uint8Array | Read[] | Struct;

/** Parquet's own metadata is nested five deep. */
const depthMax = 16;

/** One struct of bytes that anybody may have written: throws RangeError where they are none. */
export function readStruct(bytes: Uint8Array): Struct {
  return new Reader(bytes).struct(0);
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  struct(depth: number): Struct {
    if (depth > depthMax) throw new RangeError("nested too deep");
    const fields: Struct = new Map();
    for (let last = 0; ;) {
      const head = this.#byte();
      if (head === type.stop) return fields;
      const step = head >>> 4;
      last = step === 0 ? Number(this.#zigzag()) : last + step;
      const of = head & 15;
      const inPlace = of === type.yes || of === type.no;
      fields.set(last, inPlace ? of === type.yes : this.#value(of, depth));
    }
  }

  /** A bool as it stands in a list: a byte of its own. */
  #value(of: number, depth: number): Read {
    if (of === type.yes || of === type.no) return this.#byte() === type.yes;
    if (of === type.byte) return (this.#byte() << 24) >> 24;
    if (of === type.i16 || of === type.i32) return Number(this.#zigzag());
    if (of === type.i64) return this.#zigzag();
    if (of === type.double) return new DataView(this.#take(8).slice().buffer).getFloat64(0, true);
    if (of === type.binary) return this.#take(this.#count());
    if (of === type.list || of === type.set) return this.#list(depth);
    if (of === type.map) return this.#map(depth);
    if (of === type.struct) return this.struct(depth + 1);
    throw new RangeError(`no type of Thrift: ${of}`);
  }

  #list(depth: number): Read[] {
    if (depth > depthMax) throw new RangeError("nested too deep");
    const head = this.#byte();
    const count = head >>> 4 === 15 ? this.#count() : head >>> 4;
    const values: Read[] = [];
    // each is a byte at least, so a false count ends with the bytes
    for (let i = 0; i < count; i++) values.push(this.#value(head & 15, depth + 1));
    return values;
  }

  #map(depth: number): Read[] {
    if (depth > depthMax) throw new RangeError("nested too deep");
    const count = this.#count();
    const types = count === 0 ? 0 : this.#byte();
    const values: Read[] = [];
    for (let i = 0; i < count; i++) {
      values.push(this.#value(types >>> 4, depth + 1), this.#value(types & 15, depth + 1));
    }
    return values;
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new RangeError("it ends too soon");
    return byte;
  }

  #take(length: number): Uint8Array {
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.byteLength) throw new RangeError("it ends too soon");
    return this.#bytes.subarray(start, this.#at);
  }

  #count(): number {
    return Number(this.#varint());
  }

  #zigzag(): bigint {
    const value = this.#varint();
    return (value >> 1n) ^ -(value & 1n);
  }

  #varint(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("a number of more than 10 bytes");
  }
}
