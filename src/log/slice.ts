/**
 * A slice: one LMDB file that holds all batches of all partitions of a topic for a while, in the
 * order they were committed. The newest slice of a topic takes appends; older ones are complete,
 * then sealed with a table of their batches, and go away as a whole.
 */
import { rm, rmSync } from "node:fs";
import { dirname } from "node:path";
import { baseOffset, lastOffsetDelta, maxTimestamp } from "../batch/header.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { cutValue, ROW_BYTES, VALUE_HEAD_BYTES } from "./commit-value.ts";
import {
  headerKey,
  META_KEY,
  openToWrite,
  put,
  syncDirectory,
  transact,
  valueKey,
  type Environment,
} from "./environment.ts";
import type { Environments } from "./environments.ts";
import type { SliceRow } from "./manifest.ts";
import { packValue } from "./pack-value.ts";
import { seal } from "./seal.ts";
import {
  decodeSealed,
  encodeSealed,
  type PartitionHeader,
  type SliceMeta,
} from "./slice-header.ts";
import { PartitionIndex } from "./slice-index.ts";
import { SliceKeys } from "./slice-keys.ts";
import { locateInTable, type Place } from "./slice-table.ts";
import { copyStored, type StoredBatch, valueOf } from "./stored-batch.ts";
import type { AppendBatch } from "./types.ts";

export class Slice {
  readonly path: string;
  readonly row: SliceRow;
  readonly #environments: Environments;
  /** Of the open or rolled slice, until it is sealed. */
  #env: Environment | null = null;
  index: PartitionIndex[] | null = null;
  /** What was learnt of its keys, until it is sealed; null where its topic does not want them. */
  keys: SliceKeys | null = null;
  /** Total of `row.bytes`. */
  bytes = 0;
  commits = 0;
  /** False when its tree is damaged: LMDB must not touch it. */
  sound = true;
  #sealing: Generator<void, void> | null = null;

  constructor(path: string, row: SliceRow, environments: Environments) {
    this.path = path;
    this.row = row;
    this.#environments = environments;
    for (const n of row.bytes) this.bytes += n;
  }

  /** The file, its headers and its name are on disk when this returns. */
  static create(
    path: string,
    row: SliceRow,
    meta: SliceMeta,
    headers: PartitionHeader[],
    environments: Environments,
  ): Slice {
    const slice = new Slice(path, row, environments);
    slice.index = headers.map(() => new PartitionIndex());
    try {
      slice.#env = openToWrite(path, row.flushed);
      transact(slice.#env, true, () => {
        put(slice.environment, META_KEY, encodeSealed(meta), true);
        headers.forEach((h, i) => put(slice.environment, headerKey(i), encodeSealed(h), true));
      });
      syncDirectory(dirname(path));
    } catch (error) {
      slice.unlink();
      throw error;
    }
    return slice;
  }

  /** For writing: the open slice, or a rolled one that is still to be sealed. */
  openToWrite(): Environment {
    this.#env ??= openToWrite(this.path, this.row.flushed);
    return this.#env;
  }

  /** lmdb shares an environment within a process: never read-only what is yet to be written. */
  get environment(): Environment {
    const { state } = this.row;
    return state === "sealed" ? this.#environments.get(this.path) : this.openToWrite();
  }

  /**
   * Puts batches, stamped already, in one transaction; nothing here has changed when it throws.
   * At the slice's level when it returns.
   */
  append(batches: readonly AppendBatch[], nowMs: number): void {
    const count = batches.length;
    if (lengths.length < count) lengths = new Uint32Array(count * 2);
    for (let i = 0; i < count; i++) lengths[i] = batches[i].bytes.byteLength;
    const cuts: number[] = [];
    for (let at = 0; at < count;) cuts.push((at = cutValue(lengths, at, count)));

    const commit = this.commits + 1;
    const env = this.openToWrite();
    transact(env, this.row.flushed, () => {
      let from = 0;
      cuts.forEach((to, number) => {
        const value = packValue(batches, from, to, nowMs, commit, number, cuts.length);
        put(env, valueKey(commit, number, scratchKey), value, true);
        from = to;
      });
    });

    this.commits = commit;
    let from = 0;
    cuts.forEach((to, number) => {
      let position = VALUE_HEAD_BYTES + (to - from) * ROW_BYTES;
      for (let i = from; i < to; i++) {
        this.note(batches[i].partition, batches[i].bytes, commit, number, position);
        position += lengths[i];
      }
      from = to;
    });
    if (this.row.firstAppendMs === 0) this.row.firstAppendMs = nowMs;
    if (nowMs > this.row.newestAppendMs) this.row.newestAppendMs = nowMs;
  }

  /** Enters a batch that is in the file. */
  note(p: number, batch: Uint8Array, commit: number, number: number, position: number): void {
    const { row } = this;
    const base = baseOffset(batch);
    const last = base + lastOffsetDelta(batch);
    const max = maxTimestamp(batch);
    const length = batch.byteLength;
    this.index?.[p].add(base, last, max, commit, number, position, length);
    row.ends[p] = last + 1;
    if (max > row.maxTimestamps[p]) row.maxTimestamps[p] = max;
    row.bytes[p] += length;
    row.batches++;
    this.bytes += length;
  }

  /** False while opening it would take long: a step towards it is done, ask again. */
  prepare(): boolean {
    return this.row.state !== "sealed" || this.#environments.prepare(this.path);
  }

  /** First batch of a partition that ends at or after `offset`; null when there is none. */
  locate(partition: number, offset: number): Place | null {
    if (this.index !== null) {
      const index = this.index[partition];
      const row = index.find(offset);
      return row === index.count ? null : { index, row };
    }
    const chunks = this.#environments.chunks(this.path);
    return locateInTable(this.environment, chunks, this.path, partition, offset);
  }

  /**
   * A copy of one batch, checked: CRC, base offset, length and epoch. Null when it is damaged.
   * `epoch` is the leader epoch that held at its base offset.
   */
  read({ index, row }: Place, epoch: number): Uint8Array | null {
    const length = index.length[row];
    const batch = new Uint8Array(length);
    const stored: StoredBatch = {
      base: index.base[row],
      last: index.last[row],
      commit: index.commit[row],
      value: index.value[row],
      position: index.position[row],
      length,
    };
    const value = valueOf(this.environment, stored);
    return copyStored(value, stored, epoch, batch, 0) ? batch : null;
  }

  putHeaders(from: number, headers: PartitionHeader[]): void {
    const env = this.openToWrite();
    transact(env, true, () => {
      headers.forEach((h, i) => put(env, headerKey(from + i), encodeSealed(h), false));
    });
  }

  /** Values as they stand in another file of this slice. */
  putValues(entries: [key: Uint8Array, value: Uint8Array][]): void {
    const env = this.openToWrite();
    transact(env, true, () => {
      for (const [key, value] of entries) put(env, key, value, true);
    });
  }

  /** Changes only the log start: the rest of a header is the state this slice began with. */
  moveStart(partition: number, logStart: number): void {
    const header = this.header(partition);
    this.putHeaders(partition, [{ ...header, logStart }]);
  }

  header(partition: number): PartitionHeader {
    const header = decodeSealed<PartitionHeader>(this.environment.get(headerKey(partition)));
    if (header !== null) return header;
    const place = `${this.path}: header of partition ${partition} fails its checksum`;
    throw new MilepostError("damaged", place);
  }

  /** This slice's row as it is once so many partitions have joined. */
  widened(more: number): SliceRow {
    const none = (value: number): number[] => Array.from({ length: more }, () => value);
    const { starts, ends, maxTimestamps, bytes } = this.row;
    return {
      ...this.row,
      starts: starts.concat(none(0)),
      ends: ends.concat(none(0)),
      maxTimestamps: maxTimestamps.concat(none(-1)),
      bytes: bytes.concat(none(0)),
    };
  }

  widen(more: number): void {
    Object.assign(this.row, this.widened(more));
    for (let i = 0; i < more; i++) this.index?.push(new PartitionIndex());
  }

  /** What was only logged is on disk when this returns. */
  flush(): void {
    if (!this.row.flushed) transact(this.openToWrite(), true, () => {});
  }

  /** Does some of what comes before sealing; true once all of it is on disk. The caller seals. */
  sealStep(withKeys: boolean): boolean {
    if (this.#sealing === null) {
      this.learnKeys(withKeys, 0);
      this.#sealing = seal(this);
    }
    try {
      const until = performance.now() + limits.keyStepMs;
      let done = this.#sealing.next().done === true;
      while (!done && performance.now() < until) done = this.#sealing.next().done === true;
      return done;
    } catch (error) {
      this.#sealing = null;
      throw error;
    }
  }

  /** For so long at the most; forgets them when they are not wanted any more. */
  learnKeys(wanted: boolean, ms: number): void {
    if (!wanted) this.keys = null;
    else (this.keys ??= new SliceKeys(this)).step(ms);
  }

  sealed(): void {
    this.row.state = "sealed";
    this.index = null;
    this.keys = null;
    void this.#env?.close();
    this.#env = null;
  }

  close(): void {
    void this.#env?.close();
    this.#env = null;
    this.#environments.forget(this.path);
  }

  unlink(): void {
    this.close();
    rmSync(this.path, { force: true });
    rmSync(`${this.path}-lock`, { force: true });
  }

  /** No longer listed: deleting a quarter of a gigabyte takes a while, beside this thread. */
  discard(): void {
    this.close();
    for (const file of [this.path, `${this.path}-lock`]) {
      rm(file, { force: true }, (error) => {
        if (error !== null) throw error;
      });
    }
  }
}

// one thread writes, so one set of scratch space serves all slices
let lengths = new Uint32Array(1024);
const scratchKey = new Uint8Array(7);
