/** Batches that clients would send, and some that none should. */
import { setCrc, setI64, setU32 } from "../../src/batch/header.ts";
import { HEADER_BYTES } from "../../src/batch/layout.ts";
import { withRecords } from "../batch/compress.ts";
import { batchOf } from "../log/batches.ts";

export { batchOf, idempotent } from "../log/batches.ts";

/** `count` records of the same time. */
export const recordsAt = (timestamp: number, count = 3, key: string | null = "k") =>
  Array.from({ length: count }, (_, i) => ({ key, value: `value ${i}`, timestamp }));

/** A batch of now. */
export const fresh = (count = 3, key: string | null = "k"): Uint8Array =>
  batchOf(recordsAt(Date.now(), count, key));

/** The batch with some of its bytes changed, and a CRC that fits. */
export function changed(batch: Uint8Array, change: (batch: Uint8Array) => void): Uint8Array {
  const copy = batch.slice();
  change(copy);
  setCrc(copy);
  return copy;
}

export const withU32 = (batch: Uint8Array, at: number, value: number): Uint8Array =>
  changed(batch, (b) => setU32(b, at, value));

export const withI64 = (batch: Uint8Array, at: number, value: number): Uint8Array =>
  changed(batch, (b) => setI64(b, at, value));

export const withByte = (batch: Uint8Array, at: number, value: number): Uint8Array =>
  changed(batch, (b) => (b[at] = value));

/** A batch of one record, whose bytes are these. */
export const ofRecord = (record: number[], count = 1): Uint8Array => {
  const plain = batchOf(recordsAt(1000, count));
  return withRecords(plain, 0, Uint8Array.from([record.length * 2, ...record]));
};

export const recordBytes = (batch: Uint8Array): Uint8Array => batch.subarray(HEADER_BYTES);
