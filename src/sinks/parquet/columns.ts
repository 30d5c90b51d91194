/** Held rows as columns of a file: the encoding of each, and its statistics. */
import { limits } from "../../model/limits.ts";
import { CellCache } from "../../partitions/cell.ts";
import type { HeldRows } from "../held-rows.ts";
import { cellResolution } from "../ping-row.ts";
import type { TextTable } from "../text-table.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { areNear, byteStreamSplit, deltaBinaryPacked } from "./encodings.ts";
import { FloatDictionary } from "./float-dictionary.ts";
import { Encoding } from "./format.ts";
import { type Bounds, type EncodedColumn, Levels, noBounds, PageWriter } from "./pages.ts";
import { Scratch } from "./scratch.ts";
import { slots, SortedRows } from "./sorted-rows.ts";

type Place = { topic: string; partition: number };

/** Bounds are read at every query: a longer text is none. */
const boundBytesMax = 256;

/** Encodes the columns of one file after the other. What it gives holds until the next file. */
export class ColumnEncoder {
  readonly #pages = new PageWriter();
  readonly #scratch = new Scratch();
  readonly #cells = new CellCache(cellResolution, 1, "int64", limits.sinkCellsMax);
  readonly #floats = new FloatDictionary();

  /** In the order of the schema. */
  *columns(held: HeldRows, { topic, partition }: Place): Generator<EncodedColumn> {
    this.#pages.begin();
    const rows = new SortedRows(held, this.#scratch);
    const number = Buffer.alloc(4);
    number.writeInt32LE(partition);
    const lat = rows.doubles("lat", slots.lat);
    const lon = rows.doubles("lon", slots.lon);
    yield this.#times(rows.doubles("ts"));
    yield this.#texts(rows.texts("id"), rows.ids, rows.idsInOrder);
    yield this.#doubles(lat);
    yield this.#doubles(lon);
    yield this.#floatsOf(rows.floats("speed"));
    yield this.#floatsOf(rows.floats("heading"));
    yield this.#floatsOf(rows.floats("accuracy"));
    yield this.#floatsOf(rows.floats("altitude"));
    yield this.#floatsOf(rows.floats("battery"));
    yield this.#texts(rows.texts("trip"), rows.trips, null);
    yield this.#cellsOf(lat, lon);
    yield this.#extras(rows);
    yield this.#times(rows.doubles("received"));
    yield this.#constant(rows.count, Buffer.from(topic), true);
    yield this.#constant(rows.count, number, false);
    yield this.#wholes(rows.doubles("offset"));
  }

  /** ms, as microseconds. */
  #times(times: Float64Array): EncodedColumn {
    for (let i = 0; i < times.length; i++) times[i] = Math.floor(times[i] * 1000);
    return this.#wholes(times);
  }

  #wholes(values: Float64Array): EncodedColumn {
    const [min, max] = extremes(values);
    const near = areNear(min, max);
    const put = (out: ByteWriter): void => {
      if (near) deltaBinaryPacked(out, values, values.length);
      else for (const value of values) out.int64(value);
    };
    const encoding = near ? Encoding.DELTA_BINARY_PACKED : Encoding.PLAIN;
    return this.#pages.column(new Levels(values.length), encoding, put, {
      min: this.#pages.bytes((out) => out.int64(min)),
      max: this.#pages.bytes((out) => out.int64(max)),
    });
  }

  #doubles(values: Float64Array): EncodedColumn {
    const put = (out: ByteWriter): void => byteStreamSplit(out, bytesOf(values), values.length, 8);
    const bounds = this.#bounds(values, (out, value) => out.double(value));
    const levels = new Levels(values.length);
    return this.#pages.column(levels, Encoding.BYTE_STREAM_SPLIT, put, bounds);
  }

  /** NaN: null. */
  #floatsOf(values: Float32Array): EncodedColumn {
    const bounds = this.#bounds(values, (out, value) => out.float(value));
    const levels = new Levels(values.length);
    let count = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value === value) values[count++] = value;
      else levels.lacks(i);
    }
    const { buffer, byteOffset } = values;
    const bits = new Int32Array(buffer, byteOffset, count);
    const indices = this.#scratch.ints(slots.indices, count);
    if (this.#floats.index(bits, indices)) {
      const dictionary = { values: this.#floats.count, bytes: this.#floats.bytes() };
      return this.#pages.indexed(levels, dictionary, indices, bounds);
    }
    const put = (out: ByteWriter): void => byteStreamSplit(out, bytesOf(values), count, 4);
    return this.#pages.column(levels, Encoding.BYTE_STREAM_SPLIT, put, bounds);
  }

  /** Zero is one value and has two signs: bounds are -0 and +0, as parquet.thrift wants them. */
  #bounds(
    values: Float64Array | Float32Array,
    put: (out: ByteWriter, value: number) => void,
  ): Bounds {
    const [min, max] = extremes(values);
    if (min > max) return noBounds;
    return {
      min: this.#pages.bytes((out) => put(out, min === 0 ? -0 : min)),
      max: this.#pages.bytes((out) => put(out, max === 0 ? 0 : max)),
    };
  }

  /** Numbers of texts, -1: null. `order`: that of their bytes, where it is known. */
  #texts(numbers: Int32Array, texts: TextTable, order: Int32Array | null): EncodedColumn {
    const indices = new Int32Array(texts.count);
    const bytes = this.#pages.bytes((out) => {
      for (let k = 0; k < texts.count; k++) {
        const text = order === null ? k : order[k];
        indices[text] = k;
        out.text(texts.bytes, texts.startOf(text), texts.endOf(text));
      }
    });
    const levels = new Levels(numbers.length);
    let count = 0;
    for (let i = 0; i < numbers.length; i++) {
      const text = numbers[i];
      if (text >= 0) numbers[count++] = indices[text];
      else levels.lacks(i);
    }
    const dictionary = { values: texts.count, bytes };
    return this.#pages.indexed(levels, dictionary, numbers, textBounds(texts));
  }

  /** A driver is in one cell for a while, so the rows before tell it mostly. */
  #cellsOf(lat: Float64Array, lon: Float64Array): EncodedColumn {
    const indices = this.#scratch.ints(slots.indices, lat.length);
    const known = new Map<bigint, number>();
    const values: bigint[] = [];
    let last: Uint8Array | null = null;
    for (let i = 0, index = 0; i < lat.length; i++) {
      const cell = this.#cells.cellOf(0, lat[i], lon[i]);
      if (cell !== last) {
        last = cell;
        const value = Buffer.from(cell.buffer, cell.byteOffset, 8).readBigUInt64BE();
        index = known.get(value) ?? values.push(value) - 1;
        known.set(value, index);
      }
      indices[i] = index;
    }
    const bytes = bytesOf(BigUint64Array.from(values));
    const sorted = BigUint64Array.from(values).sort();
    const bounds = { min: bytesOf(sorted.slice(0, 1)), max: bytesOf(sorted.slice(-1)) };
    const dictionary = { values: values.length, bytes };
    return this.#pages.indexed(new Levels(lat.length), dictionary, indices, bounds);
  }

  /** DELTA_LENGTH_BYTE_ARRAY: lengths, then texts. */
  #extras(rows: SortedRows): EncodedColumn {
    const lengths = rows.extraLengths();
    const starts = this.#scratch.ints(slots.indices, rows.count);
    const levels = new Levels(rows.count);
    let count = 0;
    let total = 0;
    for (let i = 0; i < rows.count; i++) {
      const length = lengths[i];
      starts[i] = total;
      total += length;
      if (length > 0) lengths[count++] = length;
      else levels.lacks(i);
    }
    const put = (out: ByteWriter): void => {
      if (count > 0) deltaBinaryPacked(out, lengths, count);
      rows.copyExtras(out.take(total), starts);
    };
    const encoding = count > 0 ? Encoding.DELTA_LENGTH_BYTE_ARRAY : Encoding.PLAIN;
    return this.#pages.column(levels, encoding, put, noBounds);
  }

  /** One value for all rows. */
  #constant(rows: number, value: Uint8Array, isText: boolean): EncodedColumn {
    const bytes = this.#pages.bytes((out) => (isText ? out.text(value) : out.copy(value)));
    const bounds = { min: value, max: value };
    const dictionary = { values: 1, bytes };
    const all = this.#scratch.ints(slots.indices, rows).fill(0);
    return this.#pages.indexed(new Levels(rows), dictionary, all, bounds);
  }
}

/** Without NaN; from Infinity to -Infinity when there are none. */
function extremes(values: Float64Array | Float32Array): [min: number, max: number] {
  let [min, max] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return [min, max];
}

function textBounds(texts: TextTable): Bounds {
  const bytes = Buffer.from(texts.bytes.buffer);
  let min: Buffer | null = null;
  let max: Buffer | null = null;
  for (let text = 0; text < texts.count; text++) {
    const own = bytes.subarray(texts.startOf(text), texts.endOf(text));
    if (min === null || own.compare(min) < 0) min = own;
    if (max === null || own.compare(max) > 0) max = own;
  }
  const bound = (one: Buffer | null): Uint8Array | null =>
    one === null || one.byteLength > boundBytesMax ? null : Buffer.from(one);
  return { min: bound(min), max: bound(max) };
}

/** As they lie in memory, which is little-endian as Parquet is. */
function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
