/**
 * Parquet's headers and footer, and the columns of our files. Numbers and field ids are those of
 * parquet-format's parquet.thrift; what a type means is in LogicalTypes.md.
 */
import { version } from "../../version.ts";
import type { EncodedColumn } from "./pages.ts";
import { binary, bool, i32, i64, i8, list, struct, text, type Value } from "./thrift.ts";

/** At both ends of a file. */
export const magic = Buffer.from("PAR1");

const Type = { INT32: 1, INT64: 2, FLOAT: 4, DOUBLE: 5, BYTE_ARRAY: 6 } as const;
export const Encoding = {
  PLAIN: 0,
  RLE: 3,
  DELTA_BINARY_PACKED: 5,
  DELTA_LENGTH_BYTE_ARRAY: 6,
  RLE_DICTIONARY: 8,
  BYTE_STREAM_SPLIT: 9,
} as const;
export const Codec = { UNCOMPRESSED: 0, ZSTD: 6 } as const;
const PageType = { DATA_PAGE: 0, DICTIONARY_PAGE: 2 } as const;
const OPTIONAL = 1;

/** A type's older name, which readers that know no other go by, and its own. */
type Logical = { converted: number; logical: Value };
const none = struct();
const STRING: Logical = { converted: 0, logical: struct([1, none]) };
/** Microseconds since 1970, UTC. */
const TIMESTAMP: Logical = {
  converted: 10,
  logical: struct([8, struct([1, bool(true)], [2, struct([2, none])])]),
};
const integer = (bits: number, signed: boolean, converted: number): Logical => {
  return { converted, logical: struct([10, struct([1, i8(bits)], [2, bool(signed)])]) };
};

/** `received_at` and so on, in the order that `ColumnEncoder` has. */
const schema: readonly [name: string, type: number, logical?: Logical][] = [
  ["ts", Type.INT64, TIMESTAMP],
  ["id", Type.BYTE_ARRAY, STRING],
  ["lat", Type.DOUBLE],
  ["lon", Type.DOUBLE],
  ["speed", Type.FLOAT],
  ["heading", Type.FLOAT],
  ["accuracy", Type.FLOAT],
  ["altitude", Type.FLOAT],
  ["battery", Type.FLOAT],
  ["trip", Type.BYTE_ARRAY, STRING],
  ["h3", Type.INT64, integer(64, false, 14)],
  ["extra", Type.BYTE_ARRAY, STRING],
  ["received_at", Type.INT64, TIMESTAMP],
  ["k_topic", Type.BYTE_ARRAY, STRING],
  ["k_partition", Type.INT32, integer(32, true, 17)],
  ["k_offset", Type.INT64, integer(64, true, 18)],
];
const columnId = 1;
const columnOffset = 15;

/** A column as it stands in the file; sizes with its pages' headers. */
export type Chunk = {
  column: EncodedColumn;
  codec: number;
  offset: number;
  dictionaryBytes: number;
  bytes: number;
  uncompressedBytes: number;
};

type PageSizes = { uncompressed: number; compressed: number; crc: number };

export function dictionaryPageHeader(values: number, sizes: PageSizes): Value {
  const own = struct([1, i32(values)], [2, i32(Encoding.PLAIN)]);
  return pageHeader(PageType.DICTIONARY_PAGE, sizes, [7, own]);
}

export function dataPageHeader(rows: number, encoding: number, sizes: PageSizes): Value {
  const levels = i32(Encoding.RLE);
  const own = struct([1, i32(rows)], [2, i32(encoding)], [3, levels], [4, levels]);
  return pageHeader(PageType.DATA_PAGE, sizes, [5, own]);
}

function pageHeader(type: number, sizes: PageSizes, own: [id: number, value: Value]): Value {
  const { uncompressed, compressed, crc } = sizes;
  const all = [1, i32(type)] as const;
  return struct(all, [2, i32(uncompressed)], [3, i32(compressed)], [4, i32(crc | 0)], own);
}

/** FileMetaData; `note` are its key-value pairs. */
export function fileMetaData(
  rows: number,
  chunks: readonly Chunk[],
  note: Record<string, string>,
): Value {
  const root = struct([4, text("milepost")], [5, i32(schema.length)]);
  const elements = schema.map(([name, type, logical]) =>
    struct(
      [1, i32(type)],
      [3, i32(OPTIONAL)],
      [4, text(name)],
      logical ? [6, i32(logical.converted)] : null,
      logical ? [10, logical.logical] : null,
    ),
  );
  const pairs = Object.entries(note).map(([key, value]) =>
    struct([1, text(key)], [2, text(value)]),
  );
  return struct(
    [1, i32(2)],
    [2, list([root, ...elements])],
    [3, i64(rows)],
    [4, list(chunks.length === 0 ? [] : [rowGroup(rows, chunks)])],
    [5, list(pairs)],
    [6, text(`milepost version ${version}`)],
    // without an order of their type bounds mean nothing
    [7, list(schema.map(() => struct([1, none])))],
  );
}

function rowGroup(rows: number, chunks: readonly Chunk[]): Value {
  const sum = (of: "bytes" | "uncompressedBytes"): number =>
    chunks.reduce((all, chunk) => all + chunk[of], 0);
  const sorted = [columnId, columnOffset].map((column) =>
    struct([1, i32(column)], [2, bool(false)], [3, bool(false)]),
  );
  return struct(
    [1, list(chunks.map((chunk, i) => columnChunk(rows, chunk, i)))],
    [2, i64(sum("uncompressedBytes"))],
    [3, i64(rows)],
    [4, list(sorted)],
    [5, i64(chunks[0].offset)],
    [6, i64(sum("bytes"))],
  );
}

function columnChunk(rows: number, chunk: Chunk, i: number): Value {
  const { column, codec, offset, dictionaryBytes, bytes, uncompressedBytes } = chunk;
  const { dictionary, encoding, nulls, min, max } = column;
  const [name, type] = schema[i];
  const encodings = [Encoding.RLE, encoding, ...(dictionary === null ? [] : [Encoding.PLAIN])];
  const statistics = struct(
    [3, i64(nulls)],
    max === null ? null : [5, binary(max)],
    min === null ? null : [6, binary(min)],
  );
  const metaData = struct(
    [1, i32(type)],
    [2, list(encodings.map(i32))],
    [3, list([text(name)])],
    [4, i32(codec)],
    [5, i64(rows)],
    [6, i64(uncompressedBytes)],
    [7, i64(bytes)],
    [9, i64(offset + dictionaryBytes)],
    dictionary === null ? null : [11, i64(offset)],
    [12, statistics],
  );
  return struct([2, i64(0)], [3, metaData]);
}
