/**
 * Undoes the compression of a batch's records: for compaction, look-ups by time and validation
 * only. What comes out is bounded, whatever the sender says its size is.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib";
import snappy from "snappyjs";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { lz4FrameDecode } from "./lz4.ts";

export const codecs = ["none", "gzip", "snappy", "lz4", "zstd"] as const;

/** xerial's framing, written by Java's snappy: magic, version, compatible version, then chunks. */
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const XERIAL_HEAD_BYTES = 16;

/** At best 64 bytes from 3: what says it holds more is no snappy. */
const SNAPPY_RATIO = 22;

/** Throws `too_large` above 16 MB or 100:1, `invalid_record` for anything malformed. */
export function decompress(codec: number, bytes: Uint8Array): Uint8Array {
  const ratioBytes = bytes.byteLength * limits.decompressRatioMax;
  const freeBytes = Math.max(ratioBytes, limits.decompressBytesFree);
  const maxBytes = Math.min(limits.decompressBytesMax, freeBytes);
  try {
    const out = decompressWith(codec, bytes, maxBytes);
    if (out.byteLength > maxBytes) throw new MilepostError("too_large", "decompressed batch");
    return out;
  } catch (error) {
    if (error instanceof MilepostError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const large = bytes.byteLength * SNAPPY_RATIO > maxBytes && message.includes("is too big");
    if (code === "ERR_BUFFER_TOO_LARGE" || large) {
      throw new MilepostError("too_large", "decompressed batch");
    }
    throw new MilepostError("invalid_record", `${codecs[codec]}: ${message}`);
  }
}

function decompressWith(codec: number, bytes: Uint8Array, maxBytes: number): Uint8Array {
  switch (codec) {
    case 0:
      return bytes;
    case 1:
      return gunzipSync(bytes, { maxOutputLength: maxBytes });
    case 2:
      return snappyDecode(bytes, maxBytes);
    case 3:
      return lz4FrameDecode(bytes, maxBytes);
    case 4:
      return zstdDecompressSync(bytes, { maxOutputLength: maxBytes });
    default:
      throw new MilepostError("invalid_record", `unknown compression ${codec}`);
  }
}

function snappyDecode(bytes: Uint8Array, maxBytes: number): Uint8Array {
  if (XERIAL_MAGIC.compare(bytes, 0, Math.min(8, bytes.byteLength)) !== 0) {
    return snappy.uncompress(bytes, maxBytes);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array[] = [];
  let total = 0;
  for (let at = XERIAL_HEAD_BYTES; at < bytes.byteLength;) {
    const length = view.getInt32(at);
    at += 4;
    if (length < 0 || at + length > bytes.byteLength) throw new Error("a chunk's length");
    const part = snappy.uncompress(bytes.subarray(at, at + length), maxBytes - total);
    total += part.byteLength;
    parts.push(part);
    at += length;
  }
  return Buffer.concat(parts);
}
