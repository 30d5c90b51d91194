import { expect } from "vitest";
import { baseOffset, lastOffsetDelta } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { KIND_KEY_INDEX } from "../../src/log/environment.ts";
import { LmdbFile, type FileEntry } from "../../src/log/lmdb-file.ts";
import * as keyedReader from "../../src/log/keyed-reader.ts";
import { LogReader, type Places } from "../../src/log/reader.ts";
import { requests } from "../../src/log/requests.ts";
import type { LogStore } from "../../src/log/store.ts";
import { answerOf, appendOne, batchOf, text } from "./fixture.ts";

/** Of a topic with an index of keys, in slices of some twenty batches of `padding`. */
export const keyed = {
  "milepost.from": "position",
  "milepost.key": "driver",
  "segment.bytes": "65536",
};

/** 3 KB that no codec makes so small that the batch would be refused. */
export const padding = Array.from({ length: 300 }, (_, i) => {
  return (i * 2654435761).toString(36);
}).join("");

/** Of a store in this very thread; what passes between them is copied, as between threads. */
export function readerOf(store: LogStore): LogReader {
  const call = async (op: "locate", args: unknown) => {
    return structuredClone(answerOf(requests[op](store, structuredClone(args) as never)));
  };
  const log = {
    call: (op: "locate", ...args: unknown[]) => call(op, args),
    onForgotten: (listener: (path: string) => void) => store.onForgotten(listener),
  };
  return new LogReader(log as Places);
}

/** One look-up in topic `t`. */
export async function batchesOf(
  store: LogStore,
  partition: number,
  key: string,
  from: number,
  to: number,
  maxBytes = 1_000_000,
  reader?: LogReader,
): Promise<keyedReader.KeyedBatches> {
  const own = reader ?? readerOf(store);
  try {
    return await keyedReader.batchesOf(own, "t", partition, Buffer.from(key), from, to, maxBytes);
  } finally {
    if (reader === undefined) own.close();
  }
}

/** Look-ups until nothing is left: the batches, in order, and the records of the key in range. */
export async function readKey(
  store: LogStore,
  partition: number,
  key: string,
  from: number,
  to: number,
  maxBytes?: number,
  reader?: LogReader,
) {
  const batches: Uint8Array[] = [];
  const end = Math.min(to, store.watermark("t", partition).highWatermark);
  for (let at = from; at < end;) {
    const read = await batchesOf(store, partition, key, at, to, maxBytes, reader);
    expect(read.next).toBeGreaterThan(at);
    batches.push(...read.batches);
    at = read.next;
  }
  let last = -1;
  for (const batch of batches) {
    expect(baseOffset(batch)).toBeGreaterThan(last);
    last = baseOffset(batch) + lastOffsetDelta(batch);
  }
  const records = batches
    .flatMap((batch) => [...recordsOf(batch)])
    .filter((r) => text(r.key) === key && r.offset >= from && r.offset < to);
  return { batches, records };
}

/** Forty batches in each of two partitions of `t`; four keys take turns. */
export function fortyBatches(store: LogStore, config: Record<string, string> = keyed): void {
  store.createTopic("t", 2, config);
  for (let i = 0; i < 40; i++) {
    for (const p of [0, 1]) appendOne(store, "t", p, numbered(i));
    if (i % 3 === 0) store.tick(1_000_000);
  }
}

export const numbered = (i: number): Uint8Array =>
  batchOf([{ key: `k${i % 4}`, value: `value-${String(i).padStart(2, "0")}-${padding}` }]);

/** Offsets of one key of the four, of forty. */
export const every4th = (from: number): number[] =>
  Array.from({ length: 10 }, (_, i) => from + 4 * i);

/** Heads and chunks of a file's index of keys. */
export function keyIndexEntries(path: string): FileEntry[] {
  const file = new LmdbFile(path);
  const entries = [...file.entries(() => {})].filter(({ key }) => key[0] === KIND_KEY_INDEX);
  file.close();
  return entries;
}
