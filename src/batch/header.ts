/**
 * Reads and stamps the fixed part of a RecordBatch v2 without touching its records. Offsets and
 * times are plain numbers: both stay below 2^53.
 */
import { crc32c } from "@node-rs/crc32";
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BASE_TIMESTAMP,
  BATCH_LENGTH,
  CRC,
  HEADER_BYTES,
  LAST_OFFSET_DELTA,
  LEADER_EPOCH,
  LENGTH_OVERHEAD,
  MAGIC,
  MAX_TIMESTAMP,
  PRODUCER_EPOCH,
  PRODUCER_ID,
  RECORD_COUNT,
} from "./layout.ts";

export function u32(b: Uint8Array, at: number): number {
  return ((b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3]) >>> 0;
}
export function i32(b: Uint8Array, at: number): number {
  return (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];
}
export function i16(b: Uint8Array, at: number): number {
  return ((b[at] << 24) >> 16) | b[at + 1];
}
export function i64(b: Uint8Array, at: number): number {
  return i32(b, at) * 0x1_0000_0000 + u32(b, at + 4);
}
export function setU32(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 24;
  b[at + 1] = v >>> 16;
  b[at + 2] = v >>> 8;
  b[at + 3] = v;
}
export function setI64(b: Uint8Array, at: number, v: number): void {
  setU32(b, at, Math.floor(v / 0x1_0000_0000) | 0);
  setU32(b, at + 4, v >>> 0);
}

export const baseOffset = (b: Uint8Array, at = 0): number => i64(b, at + BASE_OFFSET);
/** Of the whole batch, in bytes, as its own length field says. */
export const batchBytes = (b: Uint8Array, at = 0): number =>
  i32(b, at + BATCH_LENGTH) + LENGTH_OVERHEAD;
export const leaderEpoch = (b: Uint8Array, at = 0): number => i32(b, at + LEADER_EPOCH);
export const attributes = (b: Uint8Array, at = 0): number => i16(b, at + ATTRIBUTES);
export const lastOffsetDelta = (b: Uint8Array, at = 0): number => i32(b, at + LAST_OFFSET_DELTA);
/** Behind the batch's last record. */
export const endOffset = (b: Uint8Array): number => baseOffset(b) + lastOffsetDelta(b) + 1;
export const baseTimestamp = (b: Uint8Array, at = 0): number => i64(b, at + BASE_TIMESTAMP);
export const maxTimestamp = (b: Uint8Array, at = 0): number => i64(b, at + MAX_TIMESTAMP);
export const producerId = (b: Uint8Array, at = 0): number => i64(b, at + PRODUCER_ID);
export const producerEpoch = (b: Uint8Array, at = 0): number => i16(b, at + PRODUCER_EPOCH);
export const baseSequence = (b: Uint8Array, at = 0): number => i32(b, at + BASE_SEQUENCE);
export const recordCount = (b: Uint8Array, at = 0): number => i32(b, at + RECORD_COUNT);
export const isControl = (b: Uint8Array, at = 0): boolean => (b[at + ATTRIBUTES + 1] & 0x20) !== 0;

/** Both fields lie before the bytes under the CRC. */
export function stamp(b: Uint8Array, offset: number, epoch: number): void {
  setI64(b, BASE_OFFSET, offset);
  setU32(b, LEADER_EPOCH, epoch);
}

/** Whether `b` has the shape of exactly one batch of magic 2. Does not read its records. */
export function wellFormed(b: Uint8Array): boolean {
  return (
    b.byteLength >= HEADER_BYTES &&
    b[MAGIC] === 2 &&
    batchBytes(b) === b.byteLength &&
    recordCount(b) >= 0 &&
    lastOffsetDelta(b) >= 0
  );
}

/** Of anything: the one checksum of the program. */
export const crcOf = (bytes: Uint8Array): number => crc32c(bytes);

export const batchCrc = (b: Uint8Array): number => crc32c(b.subarray(ATTRIBUTES));

/** Shape and CRC-32C. */
export function verifyBatch(b: Uint8Array): boolean {
  return wellFormed(b) && u32(b, CRC) === batchCrc(b);
}

export function setCrc(b: Uint8Array): void {
  setU32(b, CRC, batchCrc(b));
}
