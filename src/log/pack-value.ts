/** Builds the values of a commit. One thread writes, so one buffer serves all slices. */
import { leaderEpoch } from "../batch/header.ts";
import { copyBytes } from "../lib/copy-bytes.ts";
import { limits } from "../model/limits.ts";
import { ROW_BYTES, VALUE_HEAD_BYTES, writeHead, writeRow } from "./commit-value.ts";
import type { AppendBatch } from "./types.ts";

let scratch = Buffer.allocUnsafeSlow(4 * limits.valueBytes);
let scratchView = new DataView(scratch.buffer);

/** Batches `from` to `to`; good until the next call. */
export function packValue(
  batches: readonly AppendBatch[],
  from: number,
  to: number,
  nowMs: number,
  commit: number,
  number: number,
  values: number,
): Uint8Array {
  let total = VALUE_HEAD_BYTES + (to - from) * ROW_BYTES;
  const start = total;
  for (let i = from; i < to; i++) total += batches[i].bytes.byteLength;
  if (total > scratch.byteLength) {
    scratch = Buffer.allocUnsafeSlow(total * 2);
    scratchView = new DataView(scratch.buffer);
  }
  let at = start;
  for (let i = from; i < to; i++) {
    const { bytes, partition, baseOffset: base } = batches[i];
    writeRow(scratch, i - from, partition, bytes.byteLength, base, leaderEpoch(bytes));
    copyBytes(bytes, 0, bytes.byteLength, scratch, at);
    at += bytes.byteLength;
  }
  writeHead(scratch, scratchView, to - from, nowMs, commit, number, values);
  return scratch.subarray(0, total);
}
