/**
 * Reads the log from another thread than the log thread: that one says where batches lie, this one
 * copies them out of LMDB. A reader of cold data waits for its disk here, and no commit waits for
 * it. Everything it gives out was checked against its CRC and its place.
 *
 *     find(reads)  →  how much there is, nothing copied      →  take(found)  →  the bytes
 */
import { existsSync } from "node:fs";
import type { BufferPool } from "../lib/buffer-pool.ts";
import { MilepostError, type ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { LogPort } from "./client.ts";
import { openToWrite, type Environment } from "./environment.ts";
import { Environments } from "./environments.ts";
import { indexedRows } from "./keyed-rows.ts";
import {
  BASE,
  collectRows,
  COMMIT,
  LAST,
  LENGTH,
  POSITION,
  ROW,
  rowsBytes,
  rowsEnd,
  VALUE,
  type Located,
  type ReadAt,
  type Rows,
  type Slot,
} from "./located.ts";
import { locateInTable } from "./slice-table.ts";
import { copyStored, valueOf } from "./stored-batch.ts";

/** What a reader needs of the log thread. */
export type Places = Pick<LogPort, "call" | "onForgotten">;

/** How often a slice may go away while somebody is about to read it. */
export const TRIES = 3;

export type Found = {
  error: ErrorCode | null;
  detail: string;
  start: number;
  highWatermark: number;
  slot: Slot | null;
  rows: Rows;
  /** Of all rows. */
  bytes: number;
  /** Of what was asked for in `slot`, all below it is in `rows`. */
  next: number;
};

/** Behind what was found, which is something. */
export const nextOffset = ({ rows }: Found): number => rowsEnd(rows);

/** Between a look and the take that follows it, far fewer slices go. */
const GONE_KEPT = 4096;

const NO_ROWS: Rows = new Float64Array(0);

export class LogReader {
  readonly #log: Places;
  readonly #sealed = new Environments(limits.readerSealedOpenMax);
  /** The one used last stands last. */
  readonly #writing = new Map<string, Environment>();
  /** Slices that are deleted, or about to be: opened again, one would stay open for nobody. */
  readonly #gone = new Set<string>();

  constructor(log: Places) {
    this.#log = log;
    log.onForgotten((path) => {
      this.#gone.add(path);
      for (const oldest of this.#gone) {
        if (this.#gone.size <= GONE_KEPT) break;
        this.#gone.delete(oldest);
      }
      this.#forget(path);
    });
  }

  /**
   * Batches from each offset on, of about `maxBytes` a partition and `maxBytesAll` together; the
   * first that has any gives one at least, so that no batch is too large to be read.
   */
  async find(reads: readonly ReadAt[], maxBytesAll: number): Promise<Found[]> {
    const found: Found[] = Array.from({ length: reads.length });
    let open = reads.map((read, i) => ({ read, i, tries: 0 }));
    // rows of small batches are no small thing: none are collected but those that `cut` may leave
    let left = maxBytesAll;
    while (open.length > 0) {
      const asked = open;
      open = [];
      const located = await this.#log.call(
        "locate",
        asked.map(({ read }) => read),
        left,
      );
      for (let n = 0; n < asked.length; n++) {
        const { read, i, tries } = asked[n];
        const maxBytes = Math.min(read.maxBytes, left);
        const result = await this.#resolve({ ...read, maxBytes }, located[n]);
        if (typeof result !== "number") {
          found[i] = result;
          left -= result.bytes;
        } else if (result > read.offset) {
          open.push({ read: { ...read, offset: result }, i, tries });
        } else if (tries < TRIES) {
          open.push({ read, i, tries: tries + 1 });
        } else {
          const detail = `${read.topic}/${read.partition}: ${located[n].slot?.path} is missing`;
          found[i] = nothing(located[n], "damaged", detail);
        }
      }
    }
    return cut(found, maxBytesAll);
  }

  /**
   * What was found, as one piece. Ends before the first damaged batch; null when that is the first
   * of all. Nothing of a slice that was deleted since: find again.
   */
  take({ slot, rows, bytes }: Found, buffers?: BufferPool): Uint8Array | null {
    if (slot === null || bytes === 0 || this.#gone.has(slot.path)) return new Uint8Array(0);
    let env: Environment;
    try {
      env = this.#environment(slot);
    } catch (error) {
      if (error instanceof MilepostError && error.code === "damaged") return this.#none(slot);
      throw error;
    }
    // the transaction that this thread read with last may be older than the rows
    env.resetReadTxn();
    // small batches of one commit lie in one value
    let value: Uint8Array | undefined;
    const out = buffers?.take(bytes) ?? Buffer.allocUnsafe(bytes);
    let length = 0;
    for (let at = 0; at < rows.length; at += ROW) {
      const [commit, number] = [rows[at + COMMIT], rows[at + VALUE]];
      const isNext = at === 0 || commit !== stored.commit || number !== stored.value;
      stored.base = rows[at + BASE];
      stored.last = rows[at + LAST];
      stored.commit = commit;
      stored.value = number;
      stored.position = rows[at + POSITION];
      stored.length = rows[at + LENGTH];
      if (isNext) value = valueOf(env, stored);
      if (!copyStored(value, stored, epochAt(slot.epochs, stored.base), out, length)) break;
      length += stored.length;
    }
    if (length === 0) return this.#none(slot);
    return length === bytes ? out : out.subarray(0, length);
  }

  close(): void {
    this.#sealed.close();
    for (const env of this.#writing.values()) void env.close();
    this.#writing.clear();
  }

  /** What there is; or the offset to ask for next, the same one when the slice has gone. */
  async #resolve(read: ReadAt, located: Located): Promise<Found | number> {
    const { slot } = located;
    if (slot === null) return nothing(located, located.error, located.detail);
    const found = (rows: Rows, next: number): Found => {
      return { ...located, slot, rows, bytes: rowsBytes(rows), next };
    };
    if (slot.rows !== null) return found(slot.rows, slot.next);
    try {
      this.#closeWriting(slot.path);
      while (!this.#gone.has(slot.path) && !this.#sealed.prepare(slot.path)) await turn();
      if (this.#gone.has(slot.path)) return read.offset;
      this.#sealed.get(slot.path).resetReadTxn();
      const { path, at, until, compacted } = slot;
      if (read.key !== undefined && until > at) {
        const steps = indexedRows(this.#sealed, slot, read.partition, read.key.hash, read.maxBytes);
        let step = steps.next();
        for (; step.done !== true; step = steps.next()) {
          await turn();
          if (this.#gone.has(path)) return read.offset;
        }
        if (step.value !== null) return found(step.value.rows, step.value.next);
      }
      const env = this.#sealed.get(path);
      const chunks = this.#sealed.chunks(path);
      const place = locateInTable(env, chunks, path, read.partition, at);
      const next = place === null ? until : Math.min(place.index.base[place.row], until);
      if (place === null || next > at) {
        if (compacted) return next;
        const detail = `${read.topic}/${read.partition} at offset ${at} in ${path}`;
        return nothing(located, "damaged", detail);
      }
      const rows = collectRows(place.index, place.row, until, read.maxBytes, compacted);
      return found(rows, rows.length === 0 ? at : rowsEnd(rows));
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      if (error.code === "damaged" && !existsSync(slot.path)) {
        this.#forget(slot.path);
        return read.offset;
      }
      return nothing(located, error.code, error.detail);
    }
  }

  #environment({ path, writing, flushed }: Slot): Environment {
    if (!writing) return this.#sealed.get(path);
    let env = this.#writing.get(path);
    if (env === undefined) {
      // lmdb would make a file that is not there
      if (!existsSync(path)) throw new MilepostError("damaged", `${path} is missing`);
      env = openToWrite(path, flushed);
      for (const oldest of this.#writing.keys()) {
        if (this.#writing.size < limits.readerWritingOpenMax) break;
        this.#closeWriting(oldest);
      }
    } else {
      this.#writing.delete(path);
    }
    this.#writing.set(path, env);
    return env;
  }

  /** Why nothing can be taken: null for damage. */
  #none({ path }: Slot): Uint8Array | null {
    if (existsSync(path)) return null;
    this.#forget(path);
    return new Uint8Array(0);
  }

  #closeWriting(path: string): void {
    void this.#writing.get(path)?.close();
    this.#writing.delete(path);
  }

  #forget(path: string): void {
    this.#closeWriting(path);
    this.#sealed.forget(path);
  }
}

function nothing(located: Located, error: ErrorCode | null, detail: string): Found {
  const { start, highWatermark } = located;
  return { error, detail, start, highWatermark, slot: null, rows: NO_ROWS, bytes: 0, next: -1 };
}

/** Whole batches up to `maxBytes` in all; the first that has any keeps one at least. */
function cut(found: Found[], maxBytes: number): Found[] {
  let left = maxBytes;
  let first = true;
  for (const f of found) {
    let bytes = 0;
    let at = 0;
    while (at < f.rows.length) {
      const length = f.rows[at + LENGTH];
      if (bytes + length > left && !(first && at === 0)) break;
      bytes += length;
      at += ROW;
    }
    if (at < f.rows.length) f.rows = f.rows.subarray(0, at);
    f.bytes = bytes;
    left -= bytes;
    if (bytes > 0) first = false;
  }
  return found;
}

function epochAt(epochs: Slot["epochs"], offset: number): number {
  let i = epochs.length - 1;
  while (i > 0 && epochs[i][1] > offset) i--;
  return i < 0 ? -1 : epochs[i][0];
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

// one read at a time: `take` does not wait
const stored = { base: 0, last: 0, commit: 0, value: 0, position: 0, length: 0 };
