/**
 * A file's columns, each as one page of values, and a dictionary before it where there is one: how
 * they are encoded, and what their statistics are.
 */
import { CellCache } from "../../partitions/cell.ts";
import { limits } from "../../model/limits.ts";
import { cellResolution } from "../ping-row.ts";
import { blockRows } from "../row-block.ts";
import type { TextTable } from "../text-table.ts";
import { ByteWriter } from "./byte-writer.ts";
import {
  areNear,
  bitsOf,
  byteStreamSplit,
  definitionLevels,
  deltaBinaryPacked,
  hybrid,
} from "./encodings.ts";
import { FloatDictionary } from "./float-dictionary.ts";
import { Encoding } from "./format.ts";
import { SortedRows } from "./sorted-rows.ts";
import type { HeldRows } from "../held-rows.ts";

/** The values of a row group's column. Bytes are its own. */
export type EncodedColumn = {
  dictionary: { values: number; bytes: Uint8Array } | null;
  encoding: number;
  data: Uint8Array;
  nulls: number;
  /** As PLAIN has them; null: not known. */
  min: Uint8Array | null;
  max: Uint8Array | null;
};

type Place = { topic: string; partition: number };

/** Statistics are looked through at every query: a longer text is none. */
const boundBytesMax = 256;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Encodes columns one after the other; what it keeps between two is scratch. */
export class ColumnEncoder {
  readonly #out = new ByteWriter();
  readonly #cells = new CellCache(cellResolution, 1, "int64", limits.sinkCellsMax);
  readonly #floats = new FloatDictionary();

  /** Of the schema, in its order. */
  *columns(held: HeldRows, { topic, partition }: Place): Generator<EncodedColumn> {
    const rows = new SortedRows(held);
    yield this.#times(rows.doubles("ts"));
    yield this.#texts(rows.texts("id"), rows.ids, rows.idsInOrder);
    yield this.#doubles(rows.doubles("lat"));
    yield this.#doubles(rows.doubles("lon"));
    yield this.#floatsOf(rows.floats("speed"));
    yield this.#floatsOf(rows.floats("heading"));
    yield this.#floatsOf(rows.floats("accuracy"));
    yield this.#floatsOf(rows.floats("altitude"));
    yield this.#floatsOf(rows.floats("battery"));
    yield this.#texts(rows.texts("trip"), rows.trips, null);
    yield this.#cellsOf(rows);
    yield this.#extras(rows);
    yield this.#times(rows.doubles("received"));
    yield this.#constant(rows.count, plainText(topic), Buffer.from(topic));
    yield this.#constant(rows.count, plainInt32(partition), plainInt32(partition));
    yield this.#wholes(rows.doubles("offset"));
  }

  /** ms, as microseconds. */
  #times(times: Float64Array): EncodedColumn {
    for (let i = 0; i < times.length; i++) times[i] = Math.floor(times[i] * 1000);
    return this.#wholes(times);
  }

  #wholes(values: Float64Array): EncodedColumn {
    let [min, max] = [Infinity, -Infinity];
    for (const value of values) {
      if (value < min) min = value;
      if (value > max) max = value;
    }
    const out = this.#begin(null, values.length);
    const near = areNear(min, max);
    if (near) deltaBinaryPacked(out, values, values.length);
    else for (const value of values) out.int64(value);
    const data = this.#take();
    return {
      dictionary: null,
      encoding: near ? Encoding.DELTA_BINARY_PACKED : Encoding.PLAIN,
      data,
      nulls: 0,
      min: this.#plain((to) => to.int64(min)),
      max: this.#plain((to) => to.int64(max)),
    };
  }

  #doubles(values: Float64Array): EncodedColumn {
    const out = this.#begin(null, values.length);
    const { buffer, byteOffset, byteLength } = values;
    byteStreamSplit(out, new Uint8Array(buffer, byteOffset, byteLength), values.length, 8);
    const data = this.#take();
    const bounds = this.#bounds(values, (to, value) => to.double(value));
    return { dictionary: null, encoding: Encoding.BYTE_STREAM_SPLIT, data, nulls: 0, ...bounds };
  }

  /** NaN: null. */
  #floatsOf(values: Float32Array): EncodedColumn {
    const rows = values.length;
    const bounds = this.#bounds(values, (to, value) => to.float(value));
    let levels: Int32Array | null = null;
    let count = 0;
    for (let i = 0; i < rows; i++) {
      const value = values[i];
      if (value === value) {
        values[count++] = value;
        if (levels !== null) levels[i] = 1;
      } else levels ??= new Int32Array(rows).fill(1, 0, i);
    }
    const nulls = rows - count;
    const { buffer, byteOffset } = values;
    const bits = new Int32Array(buffer, byteOffset, count);
    const indices = this.#floats.indicesOf(bits);
    if (indices !== null) {
      const distinct = this.#floats.count;
      const dictionary = { values: distinct, bytes: this.#floats.bytes() };
      const data = this.#indexed(indices, count, distinct, levels, rows);
      return { dictionary, encoding: Encoding.RLE_DICTIONARY, data, nulls, ...bounds };
    }
    const out = this.#begin(levels, rows);
    byteStreamSplit(out, new Uint8Array(buffer, byteOffset, 4 * count), count, 4);
    const data = this.#take();
    return { dictionary: null, encoding: Encoding.BYTE_STREAM_SPLIT, data, nulls, ...bounds };
  }

  /** Zero is one value and has two signs: bounds are -0 and +0, as parquet.thrift wants them. */
  #bounds(
    values: Float64Array | Float32Array,
    put: (to: ByteWriter, value: number) => void,
  ): { min: Uint8Array | null; max: Uint8Array | null } {
    let [min, max] = [Infinity, -Infinity];
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value < min) min = value;
      if (value > max) max = value;
    }
    if (min > max) return { min: null, max: null };
    return {
      min: this.#plain((to) => put(to, min === 0 ? -0 : min)),
      max: this.#plain((to) => put(to, max === 0 ? 0 : max)),
    };
  }

  /** Numbers of texts, -1: null. `order`: that of their bytes, where it is known. */
  #texts(numbers: Int32Array, texts: TextTable, order: Int32Array | null): EncodedColumn {
    const { count: distinct } = texts;
    const at = new Int32Array(distinct);
    const out = this.#out;
    for (let k = 0; k < distinct; k++) {
      const text = order === null ? k : order[k];
      at[text] = k;
      const [start, end] = [texts.startOf(text), texts.endOf(text)];
      out.uint32(end - start);
      out.copy(texts.bytes, start, end);
    }
    const dictionary = { values: distinct, bytes: this.#take() };
    const rows = numbers.length;
    let levels: Int32Array | null = null;
    let count = 0;
    for (let i = 0; i < rows; i++) {
      const text = numbers[i];
      if (text >= 0) {
        numbers[count++] = at[text];
        if (levels !== null) levels[i] = 1;
      } else levels ??= new Int32Array(rows).fill(1, 0, i);
    }
    const data = this.#indexed(numbers, count, distinct, levels, rows);
    const encoding = Encoding.RLE_DICTIONARY;
    return { dictionary, encoding, data, nulls: rows - count, ...boundsOf(texts) };
  }

  /** H3 cells: an index of each that comes up. */
  #cellsOf(rows: SortedRows): EncodedColumn {
    const places = rows.rows();
    const indices = new Int32Array(rows.count);
    const known = new Map<bigint, number>();
    const out = this.#out;
    let last: Uint8Array | null = null;
    let [min, max] = [2n ** 64n, -1n];
    for (let i = 0, index = 0; i < rows.count; i++) {
      const block = rows.blockOf(places[i]);
      const at = places[i] % blockRows;
      const cell = this.#cells.cellOf(0, block.lat[at], block.lon[at]);
      if (cell !== last) {
        last = cell;
        const value = Buffer.from(cell.buffer, cell.byteOffset, 8).readBigUInt64BE();
        index = known.get(value) ?? known.size;
        if (index === known.size) {
          known.set(value, index);
          // its high byte comes first
          for (let k = 7; k >= 0; k--) out.byte(cell[k]);
          if (value < min) min = value;
          if (value > max) max = value;
        }
      }
      indices[i] = index;
    }
    const dictionary = { values: known.size, bytes: this.#take() };
    const data = this.#indexed(indices, rows.count, known.size, null, rows.count);
    const bounds = { min: plainUint64(min), max: plainUint64(max) };
    return { dictionary, encoding: Encoding.RLE_DICTIONARY, data, nulls: 0, ...bounds };
  }

  /** DELTA_LENGTH_BYTE_ARRAY: lengths, then the texts. */
  #extras(rows: SortedRows): EncodedColumn {
    const places = rows.rows();
    const lengths = new Float64Array(rows.count);
    const texts = new ByteWriter(16 * rows.count);
    let levels: Int32Array | null = null;
    let count = 0;
    for (let i = 0; i < rows.count; i++) {
      const block = rows.blockOf(places[i]);
      const at = places[i] % blockRows;
      const start = at === 0 ? 0 : block.extraEnds[at - 1];
      const end = block.extraEnds[at];
      if (end > start) {
        lengths[count++] = end - start + 2;
        texts.byte(OPEN);
        texts.copy(block.extra, start, end);
        texts.byte(CLOSE);
        if (levels !== null) levels[i] = 1;
      } else levels ??= new Int32Array(rows.count).fill(1, 0, i);
    }
    const out = this.#begin(levels, rows.count);
    const encoding = count > 0 ? Encoding.DELTA_LENGTH_BYTE_ARRAY : Encoding.PLAIN;
    if (count > 0) deltaBinaryPacked(out, lengths, count);
    out.copy(texts.written());
    const data = this.#take();
    const nulls = rows.count - count;
    return { dictionary: null, encoding, data, nulls, min: null, max: null };
  }

  /** One value for all rows; `bound`: without the length that a text has in front. */
  #constant(rows: number, value: Uint8Array, bound: Uint8Array): EncodedColumn {
    const data = this.#indexed(new Int32Array(rows), rows, 1, null, rows);
    const dictionary = { values: 1, bytes: value };
    const encoding = Encoding.RLE_DICTIONARY;
    return { dictionary, encoding, data, nulls: 0, min: bound, max: bound };
  }

  /** RLE_DICTIONARY: the width of its indices, and those. */
  #indexed(
    indices: Int32Array,
    count: number,
    distinct: number,
    levels: Int32Array | null,
    rows: number,
  ): Uint8Array {
    const out = this.#begin(levels, rows);
    // no reader needs to know that there are indices of no bits
    const width = Math.max(1, bitsOf(distinct - 1));
    out.byte(width);
    hybrid(out, indices, count, width);
    return this.#take();
  }

  #begin(levels: Int32Array | null, rows: number): ByteWriter {
    definitionLevels(this.#out, levels, rows);
    return this.#out;
  }

  #take(): Uint8Array {
    const bytes = this.#out.written().slice();
    this.#out.end = 0;
    return bytes;
  }

  #plain(put: (to: ByteWriter) => void): Uint8Array {
    put(this.#out);
    return this.#take();
  }
}

function boundsOf(texts: TextTable): { min: Uint8Array | null; max: Uint8Array | null } {
  const bytes = Buffer.from(texts.bytes.buffer);
  const of = (text: number): Buffer => bytes.subarray(texts.startOf(text), texts.endOf(text));
  let min: Buffer | null = null;
  let max: Buffer | null = null;
  for (let text = 0; text < texts.count; text++) {
    const own = of(text);
    if (min === null || own.compare(min) < 0) min = own;
    if (max === null || own.compare(max) > 0) max = own;
  }
  const bound = (one: Buffer | null): Uint8Array | null =>
    one === null || one.byteLength > boundBytesMax ? null : Buffer.from(one);
  return { min: bound(min), max: bound(max) };
}

function plainText(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([plainInt32(bytes.byteLength), bytes]);
}

function plainInt32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function plainUint64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
