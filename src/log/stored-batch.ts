import {
  baseOffset,
  batchBytes,
  lastOffsetDelta,
  leaderEpoch,
  verifyBatch,
} from "../batch/header.ts";
import { copyBytes } from "../lib/copy-bytes.ts";
import { valueKey, type Environment } from "./environment.ts";

/** Where a batch lies in its slice, and what it is to be. */
export type StoredBatch = {
  base: number;
  last: number;
  commit: number;
  value: number;
  position: number;
  length: number;
};

/** What the batch lies in, with others; it holds until lmdb reads again. */
export function valueOf(env: Environment, { commit, value }: StoredBatch): Uint8Array | undefined {
  return env.getBinaryFast(valueKey(commit, value, scratchKey));
}

/**
 * Copies a batch out of `valueOf` it and checks it: CRC, base offset, length and epoch. False when
 * it is damaged. `epoch` is the leader epoch that held at its base offset.
 */
export function copyStored(
  value: Uint8Array | undefined,
  stored: StoredBatch,
  epoch: number,
  target: Uint8Array,
  at: number,
): boolean {
  const { position, length } = stored;
  if (value === undefined) return false;
  // `length` of what lmdb returns is right, its byteLength is not
  if (position + length > value.length) return false;
  copyBytes(value, position, position + length, target, at);
  const batch = target.subarray(at, at + length);
  return (
    verifyBatch(batch) &&
    baseOffset(batch) === stored.base &&
    batchBytes(batch) === length &&
    stored.base + lastOffsetDelta(batch) === stored.last &&
    leaderEpoch(batch) === epoch
  );
}

// a key is read before the next is made
const scratchKey = new Uint8Array(7);
