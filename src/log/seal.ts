/**
 * What a complete slice gets before it is sealed: the index of its keys, where its topic has one,
 * and the table of its batches. In steps of bounded work; begun anew after a restart.
 */
import { limits } from "../model/limits.ts";
import { put, tableKey, transact } from "./environment.ts";
import type { KeyIndexEntry } from "./key-index.ts";
import type { Slice } from "./slice.ts";
import { CHUNK_ROWS, type PartitionIndex } from "./slice-index.ts";

/** Bytes written in one step. */
const STEP_BYTES = 256 * 1024;

type Entry = KeyIndexEntry;

/**
 * A step for a topic: of its oldest slice that is complete, or of learning the open one's keys.
 * Gives back a slice that has all it needs.
 */
export function sealNext(slices: readonly Slice[], keyIndex: boolean): Slice | null {
  const waiting = slices.filter(({ row }) => row.state === "rolled");
  if (waiting.length === 0) {
    slices[slices.length - 1].learnKeys(keyIndex, limits.keyStepMs);
    return null;
  }
  const inTime = waiting.length <= limits.slicesUnsealedMax;
  return waiting[0].sealStep(keyIndex && inTime) ? waiting[0] : null;
}

/** All of it is on disk when the generator ends. */
export function* seal(slice: Slice): Generator<void, void> {
  const { keys } = slice;
  while (keys !== null && !keys.step(limits.keyStepMs)) yield;
  let pending: Entry[] = [];
  let bytes = 0;
  const write = (): void => {
    const env = slice.openToWrite();
    transact(env, true, () => {
      for (const [key, value] of pending) put(env, key, value, false);
    });
    pending = [];
    bytes = 0;
  };
  for (const source of [keys?.entries() ?? [], tableEntries(slice.index ?? [])]) {
    for (const entry of source) {
      if (entry !== null) {
        pending.push(entry);
        bytes += entry[1].byteLength;
        if (bytes < STEP_BYTES) continue;
        write();
      }
      yield;
    }
  }
  write();
}

function* tableEntries(tables: PartitionIndex[]): Generator<Entry> {
  for (const [partition, index] of tables.entries()) {
    for (let from = 0; from < index.count; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, index.count);
      yield [tableKey(partition, index.last[to - 1]), index.encodeChunk(from, to)];
    }
  }
}
