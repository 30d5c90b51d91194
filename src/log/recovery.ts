/**
 * What happens to a topic when the node starts: the newest slice gives back offsets, epochs,
 * producers and index; older slices are not read, but for one whose table is not written yet.
 *
 * LMDB brings the newest slice back to its last commit by itself. What then fails its checksum is
 * damage. Damage behind which nothing whole was committed is cut, its bytes put aside first.
 * Damage with whole commits behind it stays where it is: its offsets are never given again, and
 * reading them is an error.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
import { keepRows, readHead, type Row, type ValueHead } from "./commit-value.ts";
import {
  KIND_TABLE,
  KIND_VALUE,
  META_KEY,
  put,
  transact,
  type Environment,
} from "./environment.ts";
import { FORMAT } from "./manifest.ts";
import type { Slice } from "./slice.ts";
import { decodeSealed, type SliceMeta } from "./slice-header.ts";
import { PartitionIndex } from "./slice-index.ts";
import type { Topic } from "./topic.ts";

export type Cut = {
  topic: string;
  partition: number;
  /** First and last offset that went, -1 where the damage hides it. */
  from: number;
  to: number;
  bytes: number;
  /** Where the bytes were put. */
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
};

/** A batch, or a whole value whose head is gone, that fails its check. */
type Bad = { key: Uint8Array; commit: number; row: Row | null };

/** The smallest record there is: used only to bound how many a damaged batch can have held. */
const RECORD_BYTES_MIN = 7;

export function checkFormat(env: Environment, path: string): SliceMeta {
  const meta = decodeSealed<SliceMeta>(env.get(META_KEY));
  if (meta === null) throw new MilepostError("damaged", `${path}: meta fails its checksum`);
  if (meta.format > FORMAT) {
    const detail = `${path} has format ${meta.format}, this program knows ${FORMAT}`;
    throw new MilepostError("newer_format", detail);
  }
  return meta;
}

export function* valueKeys(env: Environment): Generator<Uint8Array> {
  yield* env.getKeys({ start: Uint8Array.of(KIND_VALUE), end: Uint8Array.of(KIND_TABLE) });
}

/** Whether a batch is what its row in the head of the value says. */
export function matchesRow(batch: Uint8Array, row: Row): boolean {
  return (
    verifyBatch(batch) && baseOffset(batch) === row.baseOffset && leaderEpoch(batch) === row.epoch
  );
}

/** The index of a slice that was rolled, but not sealed, when the node stopped. */
export function recoverRolled(slice: Slice): void {
  const env = slice.openToWrite();
  checkFormat(env, slice.path);
  const { row } = slice;
  const known = { ...row, ends: [...row.ends], maxTimestamps: [...row.maxTimestamps] };
  restart(slice);
  for (const key of valueKeys(env)) {
    const value = env.get(key);
    const head = value === undefined ? null : readHead(value);
    for (const r of head?.rows ?? []) {
      const batch = (value as Uint8Array).subarray(r.position, r.position + r.length);
      // a damaged batch keeps its place, so that reading it is an error of its own
      if (head === null || !wellFormed(batch) || baseOffset(batch) !== r.baseOffset) continue;
      slice.note(r.partition, batch, head.commit, head.number, r.position);
    }
    slice.commits = u32(key, 1);
  }
  row.ends = known.ends;
  row.maxTimestamps = known.maxTimestamps;
}

export function recoverOpen(topic: Topic, damagedDir: string, report: RecoveryReport): void {
  const slice = topic.open;
  const env = slice.openToWrite();
  checkFormat(env, slice.path);
  topic.partitions.forEach((log, p) => {
    log.restore(slice.header(p));
  });
  restart(slice);

  const bad: Bad[] = [];
  /** Per partition, and over all: the last commit that holds a whole batch. */
  const lastGood = topic.partitions.map(() => 0);
  let lastGoodCommit = 0;
  for (const key of valueKeys(env)) {
    const commit = u32(key, 1);
    slice.commits = commit;
    const value = env.getBinary(key);
    const head = value === undefined ? null : readHead(value);
    if (value === undefined || head === null) {
      bad.push({ key, commit, row: null });
      continue;
    }
    for (const row of head.rows) {
      const batch = value.subarray(row.position, row.position + row.length);
      if (!matchesRow(batch, row) || !applies(topic, row)) {
        bad.push({ key, commit, row });
        continue;
      }
      apply(topic, head, row, batch, report);
      lastGood[row.partition] = lastGoodCommit = commit;
    }
  }
  const tail = bad.filter((b) => {
    if (b.commit < lastGoodCommit) return false;
    return b.row === null || (lastGood[b.row.partition] ?? 0) < b.commit;
  });
  for (const b of bad) if (!tail.includes(b)) keepDamage(topic, b, env, report);
  if (tail.length > 0) cutTail(topic, tail, damagedDir, report);
  for (const log of topic.partitions) {
    log.pendingEnd = log.end;
    log.highWatermark = log.end;
  }
}

function restart(slice: Slice): void {
  const { row } = slice;
  slice.index = row.starts.map(() => new PartitionIndex());
  slice.bytes = 0;
  row.batches = 0;
  row.ends = [...row.starts];
  row.maxTimestamps = row.starts.map(() => -1);
  row.bytes = row.starts.map(() => 0);
}

function applies(topic: Topic, row: Row): boolean {
  const log = topic.partitions[row.partition];
  return log !== undefined && row.baseOffset >= log.end;
}

function apply(
  topic: Topic,
  head: ValueHead,
  row: Row,
  batch: Uint8Array,
  report: RecoveryReport,
): void {
  const log = topic.partitions[row.partition];
  const slice = topic.open;
  if (row.baseOffset > log.end) note(topic, row.partition, log.end, report);
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

function note(topic: Topic, partition: number, offset: number, report: RecoveryReport): void {
  const place = topic.open.path;
  report.damaged.push({ topic: topic.row.name, partition, offset, place });
}

/** The offsets of a damaged batch are spent, whatever it held. */
function keepDamage(
  topic: Topic,
  { key, row }: Bad,
  env: Environment,
  report: RecoveryReport,
): void {
  if (row === null || topic.partitions[row.partition] === undefined) {
    note(topic, -1, -1, report);
    return;
  }
  const log = topic.partitions[row.partition];
  if (row.baseOffset < log.end) return;
  const value = env.getBinary(key) as Uint8Array;
  const batch = value.subarray(row.position, row.position + row.length);
  const plausible = wellFormed(batch) && lastOffsetDelta(batch) + 1 === recordCount(batch);
  const most = Math.ceil(row.length / RECORD_BYTES_MIN);
  log.end = row.baseOffset + (plausible ? Math.min(recordCount(batch), most) : most);
  note(topic, row.partition, row.baseOffset, report);
}

function cutTail(topic: Topic, tail: Bad[], damagedDir: string, report: RecoveryReport): void {
  const slice = topic.open;
  const env = slice.openToWrite();
  const byKey = new Map<string, Bad[]>();
  for (const b of tail) {
    const hex = Buffer.from(b.key).toString("hex");
    byKey.set(hex, [...(byKey.get(hex) ?? []), b]);
  }
  mkdirSync(damagedDir, { recursive: true });
  for (const [hex, all] of byKey) {
    const value = env.getBinary(all[0].key) ?? new Uint8Array(0);
    const file = join(damagedDir, `${topic.row.dir}-${slice.row.seq}-${hex}-${report.epoch}.value`);
    writeFileSync(file, value, { flush: true });
    const { name } = topic.row;
    for (const { row } of all) {
      const bytes = row?.length ?? value.byteLength;
      const from = row?.baseOffset ?? -1;
      const batch = row === null ? value : value.subarray(row.position);
      const to = row === null || row.length < 61 ? -1 : from + lastOffsetDelta(batch);
      report.cut.push({ topic: name, partition: row?.partition ?? -1, from, to, bytes, file });
    }
  }
  transact(env, true, () => {
    for (const all of byKey.values()) {
      const [{ key, row }] = all;
      const value = env.getBinary(key);
      const head = value === undefined ? null : readHead(value);
      const gone = new Set(all.map((b) => b.row?.position));
      const left =
        row === null || value === undefined || head === null
          ? null
          : keepRows(value, head, (r) => !gone.has(r.position));
      if (left === null) void env.remove(key);
      else put(env, key, left, false);
    }
  });
  // positions within the values that were written anew have moved
  reindex(slice, env);
}

function reindex(slice: Slice, env: Environment): void {
  restart(slice);
  slice.commits = 0;
  for (const key of valueKeys(env)) {
    slice.commits = u32(key, 1);
    const value = env.getBinary(key) as Uint8Array;
    const head = readHead(value);
    for (const row of head?.rows ?? []) {
      const batch = value.subarray(row.position, row.position + row.length);
      if (head !== null && matchesRow(batch, row)) {
        slice.note(row.partition, batch, head.commit, head.number, row.position);
      }
    }
  }
}
