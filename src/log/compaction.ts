/**
 * Keeps the newest record of each key: complete slices are rewritten into a new file beside them,
 * and one transaction of the manifest puts it in their place. Offsets stay; what went leaves gaps.
 *
 * A record goes when a newer one of its key is known, or when it is a tombstone older than
 * `delete.retention.ms`. The last batch of a live producer and the last batch of a partition in
 * each file stay, emptied if need be: the one for deduplication, the other so that a reader gets
 * from any offset to the end of the file.
 *
 * The work is a generator: it yields after each 256 KB or so, and the caller goes on when it
 * likes. Whatever it had written when it is dropped is an unlisted file.
 */
import { baseOffset, lastOffsetDelta } from "../batch/header.ts";
import { filterBatch } from "../batch/filter.ts";
import { RecordCursor } from "../batch/records.ts";
import { limits } from "../model/limits.ts";
import type { Environments } from "./environments.ts";
import { emptyRow, type Manifest } from "./manifest.ts";
import { Slice } from "./slice.ts";
import type { Topic } from "./topic.ts";
import type { AppendBatch } from "./types.ts";

const STEP_BYTES = 256 * 1024;
/** A key costs about 100 bytes here. Keys beyond are kept as they are. */
const KEYS_MAX = 1_000_000;

/** Complete slices that compaction may touch now; empty when it is not worth it. */
export function compactable(topic: Topic, nowMs: number): Slice[] {
  const { settings, slices } = topic;
  if (!settings.compact) return [];
  const eligible: Slice[] = [];
  let total = 0;
  let dirty = 0;
  let overdue = false;
  for (const slice of slices) {
    const { state, firstAppendMs, newestAppendMs, compacted } = slice.row;
    if (state !== "sealed" || newestAppendMs + settings.minCompactionLagMs > nowMs) break;
    eligible.push(slice);
    total += slice.bytes;
    if (compacted) continue;
    dirty += slice.bytes;
    if (firstAppendMs + settings.maxCompactionLagMs < nowMs) overdue = true;
  }
  const worth = overdue || dirty >= total * settings.minCleanableRatio;
  return dirty > 0 && worth ? eligible : [];
}

/** One pass over `slices`, oldest first, so that a tombstone never outlives what it deletes. */
export function* compact(
  topic: Topic,
  slices: Slice[],
  on: { manifest: Manifest; environments: Environments },
  nowMs: number,
): Generator<void, void> {
  let rest = slices;
  while (rest.length > 0) {
    let bytes = 0;
    let count = 0;
    while (
      count < rest.length &&
      (count === 0 || bytes + rest[count].bytes < limits.sliceBytesMax)
    ) {
      bytes += rest[count++].bytes;
    }
    yield* rewrite(topic, rest.slice(0, count), rest, on, nowMs);
    rest = rest.slice(count);
  }
}

function* rewrite(
  topic: Topic,
  sources: Slice[],
  all: Slice[],
  on: { manifest: Manifest; environments: Environments },
  nowMs: number,
): Generator<void, void> {
  const first = sources[0].row;
  const last = sources[sources.length - 1].row;
  const partitions = last.starts.length;
  const starts = last.starts.map((_, p) => first.starts[p] ?? 0);
  const row = { ...emptyRow(last.seq, last.flushed, starts, nowMs), compacted: true };
  row.generation = last.generation + 1;
  const headers = starts.map((_, p) => {
    const source = sources.find((s) => p < s.row.starts.length) as Slice;
    return source.header(p);
  });
  const meta = { ...topic.meta(row.seq, nowMs), partitions, compacted: true };
  const path = topic.sliceFile(row);
  const out = Slice.create(path, row, meta, headers, on.environments);
  let done = false;
  try {
    for (let p = 0; p < partitions; p++) {
      const newest = yield* newestOffsets(topic, all, p);
      yield* copyNewest(topic, sources, p, newest, out, nowMs);
      yield;
    }
    while (!out.sealStep(topic.settings.keyIndex)) yield;
    row.ends = last.ends;
    row.firstAppendMs = first.firstAppendMs;
    row.newestAppendMs = Math.max(...sources.map((s) => s.row.newestAppendMs));
    row.state = "sealed";
    for (const { row: old } of sources) on.manifest.removeSlice(topic.row.id, old.seq);
    on.manifest.putSlice(topic.row.id, row);
    on.manifest.commit();
    out.sealed();
    done = true;
  } finally {
    if (!done) out.unlink();
  }
  topic.slices.splice(topic.slices.indexOf(sources[0]), sources.length, out);
  for (const source of sources) source.discard();
}

/** Key → offset of its newest record in these slices. */
function* newestOffsets(
  topic: Topic,
  slices: Slice[],
  p: number,
): Generator<void, Map<string, number>> {
  const newest = new Map<string, number>();
  const cursor = new RecordCursor();
  let bytes = 0;
  for (const slice of slices) {
    while (!slice.prepare()) yield;
    for (const batch of batchesOf(topic, slice, p)) {
      cursor.open(batch);
      while (cursor.next()) {
        if (cursor.keyStart < 0) continue;
        const key = keyOf(cursor);
        if (newest.size < KEYS_MAX || newest.has(key)) newest.set(key, cursor.offset);
      }
      if ((bytes += batch.byteLength) < STEP_BYTES) continue;
      bytes = 0;
      yield;
    }
  }
  return newest;
}

function* copyNewest(
  topic: Topic,
  sources: Slice[],
  p: number,
  newest: Map<string, number>,
  out: Slice,
  nowMs: number,
): Generator<void, void> {
  const log = topic.partitions[p];
  const lastOfProducers = log.producers.lastOffsets();
  const end = sources[sources.length - 1].row.ends[p];
  let pending: AppendBatch[] = [];
  let bytes = 0;
  for (const slice of sources) {
    while (!slice.prepare()) yield;
    const { newestAppendMs } = slice.row;
    const tombstonesGo = newestAppendMs + topic.settings.deleteRetentionMs < nowMs;
    const keep = (record: RecordCursor): boolean => {
      // from before the topic was compacted
      if (record.keyStart < 0) return true;
      if (record.offset < log.start || (tombstonesGo && record.valueStart < 0)) return false;
      return (newest.get(keyOf(record)) ?? -1) <= record.offset;
    };
    for (const old of batchesOf(topic, slice, p)) {
      const { batch, records } = filterBatch(old, keep);
      const base = baseOffset(batch);
      const next = base + lastOffsetDelta(batch) + 1;
      bytes += old.byteLength;
      if (records > 0 || next === end || lastOfProducers.has(base)) {
        const { name } = topic.row;
        pending.push({ topic: name, partition: p, bytes: batch, baseOffset: base, error: null });
      }
      if (bytes < STEP_BYTES) continue;
      if (pending.length > 0) out.append(pending, newestAppendMs);
      pending = [];
      bytes = 0;
      yield;
    }
  }
  if (pending.length > 0) out.append(pending, sources[sources.length - 1].row.newestAppendMs);
}

/** Throws `damaged` at the first batch that is, unless an operator had it skipped. */
function* batchesOf(topic: Topic, slice: Slice, p: number): Generator<Uint8Array> {
  const log = topic.partitions[p];
  // epochs below the log's start are not known any more
  let at = Math.max(slice.row.starts[p] ?? Infinity, log.start);
  while (at < slice.row.ends[p]) {
    const place = slice.locate(p, at);
    if (place === null) return;
    const { index } = place;
    for (let row = place.row; row < index.count; row++) {
      const batch = slice.read({ index, row }, log.epochAt(index.base[row]));
      at = index.last[row] + 1;
      if (batch === null && topic.reader.skippedTo(p, index.base[row]) !== null) continue;
      if (batch === null) throw topic.reader.damaged(slice, p, index.base[row]);
      yield batch;
    }
  }
}

const keyOf = (record: RecordCursor): string =>
  Buffer.prototype.latin1Slice.call(record.bytes, record.keyStart, record.keyEnd);
