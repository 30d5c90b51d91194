/** Compresses the records of a batch, in every form that clients send. */
import { gzipSync, zstdCompressSync } from "node:zlib";
import snappy from "snappyjs";
import { setCrc, setU32 } from "../../src/batch/header.ts";
import { ATTRIBUTES, BATCH_LENGTH, HEADER_BYTES, LENGTH_OVERHEAD } from "../../src/batch/layout.ts";

export const forms = ["none", "gzip", "snappy", "xerial", "lz4", "zstd"] as const;
export type Form = (typeof forms)[number];

const codecOf: Record<Form, number> = { none: 0, gzip: 1, snappy: 2, xerial: 2, lz4: 3, zstd: 4 };
const LZ4_BLOCK_BYTES = 64 * 1024;

const compress: Record<Form, (bytes: Uint8Array) => Uint8Array> = {
  none: (bytes) => bytes,
  gzip: (bytes) => gzipSync(bytes),
  snappy: (bytes) => snappy.compress(bytes),
  xerial: (bytes) => xerial(bytes.subarray(0, 100), bytes.subarray(100)),
  lz4: lz4Stored,
  zstd: (bytes) => zstdCompressSync(bytes),
};

export function compressBatch(batch: Uint8Array, form: Form): Uint8Array {
  return withRecords(batch, codecOf[form], compress[form](batch.subarray(HEADER_BYTES)));
}

/** The batch with other bytes where its records were. */
export function withRecords(batch: Uint8Array, codec: number, records: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + records.byteLength);
  out.set(batch.subarray(0, HEADER_BYTES));
  out.set(records, HEADER_BYTES);
  out[ATTRIBUTES + 1] = (out[ATTRIBUTES + 1] & ~7) | codec;
  setU32(out, BATCH_LENGTH, out.byteLength - LENGTH_OVERHEAD);
  setCrc(out);
  return out;
}

/** Java's framing of snappy: a head, then chunks with their lengths. */
export function xerial(...chunks: Uint8Array[]): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("82534e4150505900" + "00000001" + "00000001", "hex")];
  for (const chunk of chunks) {
    const packed = snappy.compress(chunk);
    const length = Buffer.alloc(4);
    length.writeInt32BE(packed.byteLength);
    parts.push(length, packed);
  }
  return Buffer.concat(parts);
}

/** A frame of blocks that are not compressed. */
function lz4Stored(bytes: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("04224d18" + "60" + "40" + "82", "hex")];
  for (let at = 0; at < bytes.byteLength; at += LZ4_BLOCK_BYTES) {
    const block = bytes.subarray(at, at + LZ4_BLOCK_BYTES);
    const length = Buffer.alloc(4);
    length.writeUInt32LE((block.byteLength | 0x8000_0000) >>> 0);
    parts.push(length, block);
  }
  return Buffer.concat([...parts, Buffer.alloc(4)]);
}
