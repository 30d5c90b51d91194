/** A file of rows: what is written, and the note in its footer, which is read again. */
import { type FileHandle, open } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { promisify } from "node:util";
import { constants, crc32, zstdCompress, zstdCompressSync } from "node:zlib";
import { limits } from "../../model/limits.ts";
import type { HeldRows } from "../held-rows.ts";
import { ByteWriter } from "./byte-writer.ts";
import { ColumnEncoder } from "./columns.ts";
import {
  type Chunk,
  Codec,
  dataPageHeader,
  dictionaryPageHeader,
  fileMetaData,
  magic,
} from "./format.ts";
import type { EncodedColumn } from "./pages.ts";
import { readStruct, type Read, type Value } from "./thrift.ts";

const compress = promisify(zstdCompress);
const level = 1;
/** What is shorter is not worth compressing; or not worth a turn on another thread. */
const compressedBytesMin = 1024;
const asyncBytesMin = 16 * 1024;
/** Other work waits so long for its turn. */
const turnMs = 10;

type Place = { topic: string; partition: number };
/** The bytes of a column in the file, one behind the other. */
type Pages = { chunk: Omit<Chunk, "offset">; bytes: Uint8Array[] };

/** Writes files one after the other; compression is on other threads. */
export class ParquetFileWriter {
  readonly #encoder = new ColumnEncoder();

  /** `note`: what `readFooterNote` finds there. Rows must not change meanwhile. */
  async write(
    path: string,
    place: Place,
    rows: HeldRows,
    note: Record<string, string>,
  ): Promise<void> {
    const { count } = rows;
    const columns = count === 0 ? [] : await this.#pages(rows, place);
    const parts: Uint8Array[] = [magic];
    const chunks: Chunk[] = [];
    let offset: number = magic.byteLength;
    for (const { chunk, bytes } of columns) {
      chunks.push({ ...chunk, offset });
      offset += chunk.bytes;
      parts.push(...bytes);
    }
    const footer = bytesOf(fileMetaData(count, chunks, note));
    const end = new ByteWriter(8);
    end.uint32(footer.byteLength);
    end.copy(magic);
    parts.push(footer, end.written());
    const file = await open(path, "wx");
    try {
      await writeAll(file, parts);
    } finally {
      await file.close();
    }
  }

  async #pages(rows: HeldRows, place: Place): Promise<Pages[]> {
    const pages: Promise<Pages>[] = [];
    let beganMs = performance.now();
    for (const column of this.#encoder.columns(rows, place)) {
      const compressed = compressColumn(column, rows.count);
      // whoever takes them all hears of its failure
      compressed.catch(() => {});
      pages.push(compressed);
      if (performance.now() - beganMs < turnMs) continue;
      await turn();
      beganMs = performance.now();
    }
    return Promise.all(pages);
  }
}

async function compressColumn(column: EncodedColumn, rows: number): Promise<Pages> {
  const { dictionary, data, encoding } = column;
  const whole = data.byteLength + (dictionary?.bytes.byteLength ?? 0);
  const codec = whole < compressedBytesMin ? Codec.UNCOMPRESSED : Codec.ZSTD;
  const [first, second] = await Promise.all([
    dictionary === null ? null : compressed(dictionary.bytes, codec),
    compressed(data, codec),
  ]);
  const bytes: Uint8Array[] = [];
  let headers = 0;
  if (dictionary !== null && first !== null) {
    const sizes = sizesOf(dictionary.bytes, first);
    const header = bytesOf(dictionaryPageHeader(dictionary.values, sizes));
    headers += header.byteLength;
    bytes.push(header, first);
  }
  const dictionaryBytes = total(bytes);
  const header = bytesOf(dataPageHeader(rows, encoding, sizesOf(data, second)));
  bytes.push(header, second);
  const uncompressedBytes = headers + header.byteLength + whole;
  const chunk = { column, codec, dictionaryBytes, bytes: total(bytes), uncompressedBytes };
  return { chunk, bytes };
}

async function compressed(bytes: Uint8Array, codec: number): Promise<Uint8Array> {
  if (codec === Codec.UNCOMPRESSED) return bytes;
  const options = {
    params: { [constants.ZSTD_c_compressionLevel]: level },
    pledgedSrcSize: bytes.byteLength,
    // in one piece; zstd's bound for what does not shrink
    chunkSize: bytes.byteLength + (bytes.byteLength >>> 8) + 1024,
  };
  if (bytes.byteLength < asyncBytesMin) return zstdCompressSync(bytes, options);
  return compress(bytes, options);
}

function sizesOf(bytes: Uint8Array, compressedBytes: Uint8Array) {
  const [uncompressed, shorter] = [bytes.byteLength, compressedBytes.byteLength];
  return { uncompressed, compressed: shorter, crc: crc32(compressedBytes) };
}

function bytesOf(value: Value): Uint8Array {
  const out = new ByteWriter();
  value.write(out);
  return out.written();
}

function total(parts: Uint8Array[]): number {
  return parts.reduce((all, part) => all + part.byteLength, 0);
}

async function writeAll(file: FileHandle, parts: Uint8Array[]): Promise<void> {
  const bytes = Buffer.concat(parts);
  for (let at = 0; at < bytes.byteLength;) {
    at += (await file.write(bytes, at)).bytesWritten;
  }
}

/** The pairs in a file's footer; null: it is no Parquet file, or none that has some. */
export async function readFooterNote(path: string): Promise<Map<string, string> | null> {
  const footer = await readFooter(path);
  if (footer === null) return null;
  let pairs: Read | undefined;
  try {
    pairs = readStruct(footer).get(5);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
  const note = new Map<string, string>();
  for (const pair of Array.isArray(pairs) ? pairs : []) {
    if (!(pair instanceof Map)) continue;
    const [key, value] = [pair.get(1), pair.get(2)];
    if (!(key instanceof Uint8Array && value instanceof Uint8Array)) continue;
    note.set(Buffer.from(key).toString(), Buffer.from(value).toString());
  }
  return note;
}

async function readFooter(path: string): Promise<Uint8Array | null> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - 8), 8);
    if (tail.byteLength < 8 || !tail.subarray(4).equals(magic)) return null;
    const bytes = tail.readUInt32LE();
    // what a sink writes is some kilobytes; anybody's may be of any size
    if (bytes > Math.min(size - 12, limits.parquetFooterBytesMax)) return null;
    const footer = await readAt(file, size - 8 - bytes, bytes);
    return footer.byteLength === bytes ? footer : null;
  } finally {
    await file.close();
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
