/**
 * What happens to a topic when the node starts: the newest slice gives back offsets, epochs,
 * producers and index; older slices are not read, but for one whose table is not written yet.
 *
 * LMDB brings the newest slice back to its last commit by itself. What then fails its checksum is
 * damage. Damage behind which nothing whole was committed is cut, and the file is put aside first.
 * Damage with whole commits behind it stays where it is: its offsets are never given again, and
 * reading them is an error.
 *
 * The files are read page by page (`lmdb-file.ts`): LMDB only ever opens what proved sound.
 */
import {
  baseOffset,
  lastOffsetDelta,
  leaderEpoch,
  producerId,
  recordCount,
  u32,
  verifyBatch,
  wellFormed,
} from "../batch/header.ts";
import { MilepostError } from "../model/errors.ts";
import { readHead, type Row, type ValueHead } from "./commit-value.ts";
import { KIND_HEADER, KIND_META, KIND_VALUE } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";
import { FORMAT } from "./manifest.ts";
import type { Slice } from "./slice.ts";
import { decodeSealed, type PartitionHeader, type SliceMeta } from "./slice-header.ts";
import { PartitionIndex } from "./slice-index.ts";
import type { Topic } from "./topic.ts";

export type Cut = {
  topic: string;
  /** -1 where the damage hides it, as with the offsets. */
  partition: number;
  /** First and last offset that went. */
  from: number;
  to: number;
  bytes: number;
  /** Where the file was put. */
  file: string;
};

export type Damage = { topic: string; partition: number; offset: number; place: string };

export type RecoveryReport = {
  /** The node had stopped cleanly. */
  clean: boolean;
  epoch: number;
  ms: number;
  cut: Cut[];
  damaged: Damage[];
  /** Files that the manifest did not list but that may hold records, where they are now. */
  aside: string[];
};

/** A batch, or a whole value, that fails its check. */
export type Bad = {
  /** Of the value, hexadecimal; empty where even that is gone. */
  key: string;
  commit: number;
  row: Row | null;
  batch: Uint8Array;
};

/** Not damage by itself, but LMDB would go back further than what is whole. */
export const REBOOTED = "the machine went down before a flush";

/** The smallest record there is: used only to bound how many a damaged batch can have held. */
const RECORD_BYTES_MIN = 7;

/** Everything of one slice's file but its table. */
export type SliceContent = { meta: SliceMeta; headers: PartitionHeader[] };

/**
 * Goes through a slice's file; `onValue` may end that by `false`. Throws `newer_format`, and
 * `damaged` where the slice cannot be used without what is gone.
 */
export function readSlice(
  path: string,
  onValue: (key: Buffer, value: Buffer) => false | void,
  damaged: (what: string) => void,
): SliceContent {
  let meta: SliceMeta | null = null;
  const headers: PartitionHeader[] = [];
  const file = new LmdbFile(path);
  try {
    if (file.rebooted) damaged(REBOOTED);
    for (const { key, value } of file.entries(damaged)) {
      if (key[0] === KIND_META) {
        meta = decodeSealed<SliceMeta>(value);
        checkFormat(meta, path);
      } else if (key[0] === KIND_HEADER) {
        const header = decodeSealed<PartitionHeader>(value);
        if (header !== null) headers[u32(key, 1)] = header;
      } else if (key[0] === KIND_VALUE) {
        if (onValue(key, value) === false) break;
      }
    }
  } finally {
    file.close();
  }
  if (meta === null) throw new MilepostError("damaged", `${path}: meta fails its checksum`);
  return { meta, headers };
}

/** Meta and headers, which LMDB keeps before the values. */
export function readHeaders(path: string): SliceContent {
  const stop = (): false => false;
  return readSlice(path, stop, () => {});
}

function isWritable(path: string): boolean {
  const file = new LmdbFile(path);
  const damage = file.freeListDamage();
  file.close();
  return damage === null;
}

function checkFormat(meta: SliceMeta | null, path: string): void {
  if (meta === null || meta.format <= FORMAT) return;
  const detail = `${path} has format ${meta.format}, this program knows ${FORMAT}`;
  throw new MilepostError("newer_format", detail);
}

/** Whether a batch is what its row in the head of the value says. */
export function matchesRow(batch: Uint8Array, row: Row): boolean {
  return (
    verifyBatch(batch) && baseOffset(batch) === row.baseOffset && leaderEpoch(batch) === row.epoch
  );
}

/** The index of a slice that was rolled, but not sealed, when the node stopped. */
export function recoverRolled(slice: Slice): void {
  const { row } = slice;
  const known = { ...row, ends: [...row.ends], maxTimestamps: [...row.maxTimestamps] };
  restart(slice);
  const noteValue = (key: Buffer, value: Buffer): void => {
    slice.commits = u32(key, 1);
    const head = readHead(value);
    for (const r of head?.rows ?? []) {
      const batch = value.subarray(r.position, r.position + r.length);
      // a damaged batch keeps its place, so that reading it is an error of its own
      if (head === null || !wellFormed(batch) || baseOffset(batch) !== r.baseOffset) continue;
      slice.note(r.partition, batch, head.commit, head.number, r.position);
    }
  };
  readSlice(slice.path, noteValue, () => (slice.sound = false));
  if (!isWritable(slice.path)) slice.sound = false;
  row.ends = known.ends;
  row.maxTimestamps = known.maxTimestamps;
}

/** What has to be cut from the newest slice; its whole state is restored when that is nothing. */
export function recoverOpen(topic: Topic, report: RecoveryReport): Bad[] {
  const slice = topic.open;
  const bad: Bad[] = [];
  /** Per partition, and over all: the last commit that holds a whole batch. */
  const lastGood = topic.partitions.map(() => 0);
  let lastGoodCommit = 0;
  restart(slice);
  slice.commits = 0;
  slice.sound = true;
  restoreHeaders(topic);
  const damaged: Damage[] = [];
  const onValue = (key: Buffer, value: Buffer): void => {
    const commit = u32(key, 1);
    slice.commits = commit;
    const head = readHead(value);
    const hex = key.toString("hex");
    if (head === null) {
      bad.push({ key: hex, commit, row: null, batch: value });
      return;
    }
    for (const row of head.rows) {
      const batch = value.subarray(row.position, row.position + row.length);
      const log = topic.partitions[row.partition];
      if (log === undefined || row.baseOffset < log.end || !matchesRow(batch, row)) {
        bad.push({ key: hex, commit, row, batch });
        continue;
      }
      if (row.baseOffset > log.end) damaged.push(place(topic, row.partition, log.end));
      apply(topic, head, row, batch);
      lastGood[row.partition] = lastGoodCommit = commit;
    }
  };
  readSlice(slice.path, onValue, () => (slice.sound = false));
  if (!isWritable(slice.path)) slice.sound = false;
  const tail = bad.filter((b) => {
    if (b.commit < lastGoodCommit) return false;
    return b.row === null || (lastGood[b.row.partition] ?? 0) < b.commit;
  });
  if (tail.length > 0 || !slice.sound) return tail;
  for (const b of bad) keepDamage(topic, b, damaged);
  report.damaged.push(...damaged);
  for (const log of topic.partitions) log.pendingEnd = log.highWatermark = log.end;
  return tail;
}

function restoreHeaders(topic: Topic): void {
  const { path } = topic.open;
  const { headers } = readHeaders(path);
  topic.partitions.forEach((log, p) => {
    const header = headers[p];
    if (header === undefined) {
      const what = `${path}: header of partition ${p} fails its checksum`;
      throw new MilepostError("damaged", what);
    }
    log.restore(header);
  });
}

export function restart(slice: Slice): void {
  const { row } = slice;
  slice.index = row.starts.map(() => new PartitionIndex());
  slice.bytes = 0;
  row.batches = 0;
  row.ends = [...row.starts];
  row.maxTimestamps = row.starts.map(() => -1);
  row.bytes = row.starts.map(() => 0);
}

function apply(topic: Topic, head: ValueHead, row: Row, batch: Uint8Array): void {
  const log = topic.partitions[row.partition];
  const slice = topic.open;
  slice.note(row.partition, batch, head.commit, head.number, row.position);
  if (slice.row.firstAppendMs === 0) slice.row.firstAppendMs = head.appendedMs;
  slice.row.newestAppendMs = Math.max(slice.row.newestAppendMs, head.appendedMs);
  log.noteEpoch(row.epoch, row.baseOffset);
  log.end = row.baseOffset + lastOffsetDelta(batch) + 1;
  if (producerId(batch) >= 0) {
    log.producers.add(batch, row.baseOffset, head.appendedMs);
    log.producers.commit();
  }
}

function place(topic: Topic, partition: number, offset: number): Damage {
  return { topic: topic.row.name, partition, offset, place: topic.open.path };
}

/** The offsets of a damaged batch are spent, whatever it held. */
function keepDamage(topic: Topic, { row, batch }: Bad, damaged: Damage[]): void {
  const log = row === null ? undefined : topic.partitions[row.partition];
  if (row === null || log === undefined) {
    damaged.push(place(topic, -1, -1));
    return;
  }
  if (row.baseOffset < log.end) return;
  const plausible = wellFormed(batch) && lastOffsetDelta(batch) + 1 === recordCount(batch);
  const most = Math.ceil(row.length / RECORD_BYTES_MIN);
  log.end = row.baseOffset + (plausible ? Math.min(recordCount(batch), most) : most);
  damaged.push(place(topic, row.partition, row.baseOffset));
}

/** What an operator should read. */
export function report(recovery: RecoveryReport, log: (line: string) => void): void {
  for (const c of recovery.cut) {
    const what = c.from < 0 ? "a value" : `${c.topic}/${c.partition} offsets ${c.from}-${c.to}`;
    log(`recovery cut ${what} of ${c.topic} (${c.bytes} bytes), kept in ${c.file}`);
  }
  for (const d of recovery.damaged) {
    log(`damaged: ${d.topic}/${d.partition} at offset ${d.offset} in ${d.place}`);
  }
  for (const path of recovery.aside) {
    log(`meta.mdb did not list what is now in ${path}: it may hold records`);
  }
}
