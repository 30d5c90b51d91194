/**
 * Checks a stopped node's log straight from its files: every head, row, batch, record, offset and
 * table. Nothing is opened for writing, and LMDB is not asked, which would follow a damaged page
 * wherever it points. For `dump` and `doctor`.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isControl, lastOffsetDelta, maxTimestamp, u32 } from "../batch/header.ts";
import { recordsOf } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import { readHead, type Row } from "./commit-value.ts";
import { KIND_HEADER, KIND_KEY_INDEX, KIND_META, KIND_TABLE, KIND_VALUE } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";
import {
  FORMAT,
  readRows,
  sliceFile,
  type ManifestRows,
  type SliceRow,
  type TopicRow,
} from "./manifest.ts";
import { matchesRow } from "./recovery.ts";
import { decodeSealed, type PartitionHeader, type SliceMeta } from "./slice-header.ts";
import { PartitionIndex } from "./slice-index.ts";
import type { LogRecord } from "./types.ts";
import { KeyIndexCheck } from "./verify-keys.ts";

export type FileDamage = {
  file: string;
  topic: string;
  /** -1 where the damage hides it. */
  partition: number;
  offset: number;
  what: string;
};

export type DumpedRecord = LogRecord & { topic: string; leaderEpoch: number };

export type Progress = { file: string; filesDone: number; files: number };

type Found = { row: Row; batch: Uint8Array };
type OnDamage = (damage: FileDamage) => void;

/** All damage there is; an empty list for a directory without a log. Throws `newer_format`. */
export function verifyDirectory(
  dir: string,
  onProgress: (progress: Progress) => void = () => {},
): FileDamage[] {
  const damages: FileDamage[] = [];
  const path = join(dir, "meta.mdb");
  const topicsDir = join(dir, "topics");
  const at = (file: string, what: string): FileDamage => {
    return { file, topic: "", partition: -1, offset: -1, what };
  };
  if (!existsSync(path)) {
    if (!existsSync(topicsDir) || readdirSync(topicsDir).length === 0) return [];
    return [at(path, "missing, but there are topics")];
  }
  let manifest: ManifestRows;
  try {
    manifest = readManifest(dir);
  } catch (error) {
    if (!(error instanceof MilepostError) || error.code === "newer_format") throw error;
    return [at(path, error.message)];
  }
  const files = [...manifest.slices.values()].reduce((n, rows) => n + rows.length, 0);
  let filesDone = 0;
  for (const topic of manifest.topics.values()) {
    const walk = new TopicWalk(dir, topic, (d) => damages.push(d));
    for (const slice of manifest.slices.get(topic.id) ?? []) {
      const file = walk.file(slice);
      onProgress({ file, filesDone, files });
      for (const { row, batch } of walk.slice(slice)) checkRecords(walk, slice, row, batch);
      filesDone++;
    }
  }
  return damages;
}

/** Every record, in the order of the commits. Throws `damaged` with the place of the first. */
export function* dumpTopic(
  dir: string,
  topic: string,
  partition: number | null,
): Generator<DumpedRecord> {
  const manifest = readManifest(dir);
  const found = [...manifest.topics.values()].find((t) => t.name === topic);
  if (found === undefined) throw new MilepostError("topic_missing", topic);
  if (partition !== null && !(partition >= 0 && partition < found.partitions)) {
    throw new MilepostError("partition_missing", `${topic}/${partition}`);
  }
  let first: FileDamage | null = null;
  const walk = new TopicWalk(dir, found, (damage) => (first ??= damage));
  const slices = manifest.slices.get(found.id) ?? [];
  const starts = logStarts(walk, slices);
  for (const slice of slices) {
    for (const { row, batch } of walk.slice(slice)) {
      if (first !== null) throw asError(first);
      if (partition !== null && row.partition !== partition) continue;
      for (const record of recordsOf(batch)) {
        if (record.offset < (starts[row.partition] ?? 0)) continue;
        yield { topic, partition: row.partition, leaderEpoch: row.epoch, ...record };
      }
    }
    if (first !== null) throw asError(first);
  }
}

function readManifest(dir: string): ManifestRows {
  const path = join(dir, "meta.mdb");
  if (!existsSync(path)) throw new MilepostError("topic_missing", `there is no log in ${dir}`);
  const file = new LmdbFile(path);
  try {
    const entries = file.entries((what) => {
      throw new MilepostError("damaged", `${path}: ${what}`);
    });
    return readRows(entries, path);
  } finally {
    file.close();
  }
}

/** Deleted records stay in the files until their slice goes. */
function logStarts(walk: TopicWalk, slices: SliceRow[]): number[] {
  const newest = slices.at(-1);
  if (newest === undefined) return [];
  const headers = walk.headers(newest);
  return headers.map((h, p) => Math.max(h.logStart, slices[0].starts[p] ?? 0));
}

function asError({ file, topic, partition, offset, what }: FileDamage): MilepostError {
  const place = partition < 0 ? topic : `${topic}/${partition} at offset ${offset}`;
  return new MilepostError("damaged", `${place} in ${file}: ${what}`);
}

/** A CRC can be right over records that are none: the sender's mistake, found here. */
function checkRecords(walk: TopicWalk, slice: SliceRow, row: Row, batch: Uint8Array): void {
  try {
    let records = 0;
    for (const { offset } of recordsOf(batch)) {
      records++;
      if (offset < row.baseOffset || offset > row.baseOffset + lastOffsetDelta(batch)) {
        walk.damage(slice, row.partition, offset, "a record's offset lies outside its batch");
      }
    }
    if (records === 0 && !slice.compacted && !isControl(batch)) {
      walk.damage(slice, row.partition, row.baseOffset, "a batch without records");
    }
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    walk.damage(slice, row.partition, row.baseOffset, error.message);
  }
}

/** Goes through the slices of one topic, from the oldest on. */
class TopicWalk {
  readonly #dir: string;
  readonly #topic: TopicRow;
  readonly #damaged: OnDamage;
  /** Per partition, where the next batch has to begin. */
  readonly #expected = new Map<number, number>();
  /** The slice before this one was compacted: it may end before this one begins. */
  #gaps = false;
  /** Partitions of this slice whose damage is told: its table does not fit then, of course. */
  readonly #told = new Set<number>();

  constructor(dir: string, topic: TopicRow, damaged: OnDamage) {
    this.#dir = join(dir, "topics", topic.dir);
    this.#topic = topic;
    this.#damaged = damaged;
  }

  file(slice: SliceRow): string {
    return join(this.#dir, sliceFile(slice));
  }

  damage(slice: SliceRow, partition: number, offset: number, what: string): void {
    const skipped = this.#topic.skips.some(
      ([p, from, to]) => p === partition && from <= offset && offset < to,
    );
    if (skipped) return;
    this.#damaged({ file: this.file(slice), topic: this.#topic.name, partition, offset, what });
  }

  headers(slice: SliceRow): PartitionHeader[] {
    const headers: PartitionHeader[] = [];
    const file = new LmdbFile(this.file(slice));
    for (const { key, value } of file.entries(() => {})) {
      if (key[0] > KIND_HEADER) break;
      const header = key[0] === KIND_HEADER ? decodeSealed<PartitionHeader>(value) : null;
      if (header !== null) headers[u32(key, 1)] = header;
    }
    file.close();
    return headers;
  }

  /** Whole batches only; damage goes to the listener. */
  *slice(slice: SliceRow): Generator<Found> {
    const path = this.file(slice);
    if (!existsSync(path)) {
      this.damage(slice, -1, -1, "missing");
      return;
    }
    let file: LmdbFile;
    try {
      file = new LmdbFile(path);
    } catch (error) {
      if (!(error instanceof MilepostError) || error.code === "newer_format") throw error;
      this.damage(slice, -1, -1, error.message);
      return;
    }
    try {
      yield* this.#entries(slice, file);
    } finally {
      file.close();
    }
  }

  *#entries(slice: SliceRow, file: LmdbFile): Generator<Found> {
    const index: PartitionIndex[] = slice.starts.map(() => new PartitionIndex());
    const tableRows = slice.starts.map(() => 0);
    const keys = new KeyIndexCheck(index, (p, what) => {
      if (slice.state === "sealed" && !this.#told.has(p)) this.damage(slice, p, -1, what);
    });
    this.#told.clear();
    for (const { key, value } of file.entries((what) => this.damage(slice, -1, -1, what))) {
      switch (key[0]) {
        case KIND_META:
          this.#checkMeta(slice, value);
          break;
        case KIND_HEADER:
          this.#checkHeader(slice, u32(key, 1), value);
          break;
        case KIND_VALUE:
          yield* this.#value(slice, key, value, index);
          break;
        case KIND_TABLE:
          this.#checkTable(slice, u32(key, 1), value, index, tableRows);
          break;
        case KIND_KEY_INDEX:
          keys.value(key, value);
          break;
        default:
          this.damage(slice, -1, -1, `unknown key ${key.toString("hex")}`);
      }
    }
    keys.end();
    this.#gaps = slice.compacted;
    if (slice.state === "open") return;
    index.forEach((rows, p) => {
      const expected = this.#expected.get(p) ?? slice.ends[p];
      if (!slice.compacted && expected !== slice.ends[p]) {
        this.damage(slice, p, expected, `offsets up to ${slice.ends[p] - 1} are missing`);
        this.#expected.set(p, slice.ends[p]);
      }
      if (slice.state === "sealed" && tableRows[p] < rows.count) {
        this.damage(slice, p, -1, `its table has ${tableRows[p]} of ${rows.count} batches`);
      }
    });
  }

  #checkMeta(slice: SliceRow, value: Buffer): void {
    const meta = decodeSealed<SliceMeta>(value);
    if (meta === null) return this.damage(slice, -1, -1, "meta fails its checksum");
    if (meta.format > FORMAT) {
      const detail = `${this.file(slice)} has format ${meta.format}, this program knows ${FORMAT}`;
      throw new MilepostError("newer_format", detail);
    }
    if (meta.topicId !== this.#topic.id || meta.seq !== slice.seq) {
      this.damage(slice, -1, -1, `belongs to ${meta.topic}, slice ${meta.seq}`);
    }
  }

  #checkHeader(slice: SliceRow, p: number, value: Buffer): void {
    const header = decodeSealed<PartitionHeader>(value);
    if (header === null) return this.damage(slice, p, -1, "header fails its checksum");
    const expected = this.#expected.get(p) ?? header.nextOffset;
    if (expected !== header.nextOffset && !this.#gaps) {
      this.damage(slice, p, expected, `the slice begins at ${header.nextOffset}`);
    }
    this.#expected.set(p, header.nextOffset);
  }

  *#value(slice: SliceRow, key: Buffer, value: Buffer, index: PartitionIndex[]): Generator<Found> {
    const head = readHead(value);
    if (head === null || head.commit !== u32(key, 1) || head.number !== key.readUInt16BE(5)) {
      const known = head === null ? "head fails its checksum" : "stands under a wrong key";
      return this.damage(slice, -1, -1, `value ${key.toString("hex")}: ${known}`);
    }
    for (const row of head.rows) {
      const batch = value.subarray(row.position, row.position + row.length);
      if (!matchesRow(batch, row)) {
        this.damage(slice, row.partition, row.baseOffset, "the batch fails its checksum");
        this.#told.add(row.partition);
        // its end is not known: the next batch of the partition says where that begins
        this.#expected.delete(row.partition);
        continue;
      }
      const expected = this.#expected.get(row.partition) ?? row.baseOffset;
      const last = row.baseOffset + lastOffsetDelta(batch);
      if (row.baseOffset < expected || (row.baseOffset > expected && !slice.compacted)) {
        this.damage(slice, row.partition, expected, `a batch begins at ${row.baseOffset}`);
      }
      this.#expected.set(row.partition, last + 1);
      const { baseOffset, position, length } = row;
      const max = maxTimestamp(batch);
      index[row.partition].add(baseOffset, last, max, head.commit, head.number, position, length);
      yield { row, batch };
    }
  }

  #checkTable(
    slice: SliceRow,
    p: number,
    value: Buffer,
    index: PartitionIndex[],
    tableRows: number[],
  ): void {
    const chunk = PartitionIndex.decodeChunk(value);
    const rows = index[p];
    if (chunk === null || rows === undefined) {
      return this.damage(slice, p, -1, "its table fails its checksum");
    }
    tableRows[p] += chunk.count;
    for (let i = 0; i < chunk.count; i++) {
      const at = rows.find(chunk.base[i]);
      const same =
        at < rows.count &&
        rows.base[at] === chunk.base[i] &&
        rows.commit[at] === chunk.commit[i] &&
        rows.position[at] === chunk.position[i] &&
        rows.length[at] === chunk.length[i];
      if (same || this.#told.has(p)) continue;
      this.damage(slice, p, chunk.base[i], "its table does not fit its batches");
      this.#told.add(p);
    }
  }
}
