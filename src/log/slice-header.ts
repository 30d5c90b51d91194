/**
 * What a slice says about each partition in its first transaction, so that nothing of the slices
 * before it is needed to go on: a partition that stays idle through every turnover keeps its next
 * offset, its epochs and its producers.
 *
 *     u32 CRC-32C of the rest | JSON, UTF-8
 */
import { crc32c } from "@node-rs/crc32";
import { setU32, u32 } from "../batch/header.ts";

export type ProducerRow = {
  id: number;
  epoch: number;
  /** By this node's clock, ms. */
  usedMs: number;
  /** At most five, oldest first: first sequence, last sequence, base offset. */
  batches: [firstSequence: number, lastSequence: number, baseOffset: number][];
  /** Records of this epoch up to the newest batch, without a gap. */
  records: number;
};

export type PartitionHeader = {
  nextOffset: number;
  logStart: number;
  highWatermark: number;
  /** Leader epoch and the offset it began at, ascending. */
  epochs: [epoch: number, startOffset: number][];
  producers: ProducerRow[];
};

export type SliceMeta = {
  format: number;
  topic: string;
  topicId: string;
  partitions: number;
  seq: number;
  flushed: boolean;
  createdMs: number;
  /** Set when compaction wrote it: offsets then have gaps. */
  compacted?: boolean;
  /** Settings of the topic, so that the manifest can be made anew from the slices. */
  config: Record<string, string>;
};

export function encodeSealed(value: object): Uint8Array {
  const json = Buffer.from(JSON.stringify(value));
  const out = new Uint8Array(4 + json.byteLength);
  out.set(json, 4);
  setU32(out, 0, crc32c(json));
  return out;
}

/** Null when the bytes are not what was written. */
export function decodeSealed<T>(bytes: Uint8Array | undefined): T | null {
  if (bytes === undefined || bytes.byteLength < 4) return null;
  const json = bytes.subarray(4);
  if (u32(bytes, 0) !== crc32c(json)) return null;
  return JSON.parse(Buffer.from(json).toString()) as T;
}
