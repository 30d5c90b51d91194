/**
 * The one place that opens LMDB. Every environment has one unnamed database with binary keys and
 * values; keys of a slice are a kind byte and big-endian numbers:
 *
 *     0x00                                   meta of the slice
 *     0x01 u32 partition                     header of a partition
 *     0x02 u32 commit u16 number             a value of a commit (`commit-value.ts`)
 *     0x03 u32 partition i64 last offset     a chunk of the sealed slice's table, by its last row
 *     0x04 u32 partition u32 chunk           its index of keys (`key-index.ts`), 0 for the head
 */
import { closeSync, constants, fsyncSync, openSync, statSync, writeSync } from "node:fs";
import { open, type RootDatabase } from "lmdb";
import { setI64, setU32 } from "../batch/header.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";

export type Environment = RootDatabase<Uint8Array, Uint8Array>;

export const META_KEY = Uint8Array.of(0);
export const KIND_META = 0;
export const KIND_HEADER = 1;
export const KIND_VALUE = 2;
export const KIND_TABLE = 3;
export const KIND_KEY_INDEX = 4;

/** Commit flags: not durable yet, visible at once; the flush follows behind. */
const COMMIT_LOGGED = 0x10002;
/** LMDB may pin one reader slot per thread and environment; a few threads read a slice. */
const READERS_MAX = 64;
/** Of LMDB's lock file: a reader's slot has 64 bytes. */
const LOCK_BYTES = 208 + READERS_MAX * 64;

const common = {
  encoding: "binary",
  keyEncoding: "binary",
  noSubdir: true,
  pageSize: 4096,
  maxReaders: READERS_MAX,
  eventTurnBatching: false,
  cache: false,
} as const;

/** Address space only. The largest commit and the table come on top of a slice's limit. */
const SLICE_MAP_BYTES = 2 * limits.sliceBytesMax;

/** `flushed`: every transaction is on disk when it returns. */
export function openToWrite(
  path: string,
  flushed: boolean,
  mapSize = SLICE_MAP_BYTES,
): Environment {
  return guard(path, () => open(path, { ...common, mapSize, overlappingSync: !flushed }));
}

export function openToRead(path: string): Environment {
  const mapSize = Math.max(statSync(path).size * 2, 1024 * 1024);
  return guard(path, () => open(path, { ...common, mapSize, readOnly: true }));
}

/**
 * LMDB maps its lock file and writes to it there: on a full disk a page without a block behind it
 * is a SIGBUS. So the blocks are there before, or this throws.
 */
function allocateLock(path: string): void {
  const lock = `${path}-lock`;
  const stat = statSync(lock, { throwIfNoEntry: false });
  if (stat !== undefined && stat.size >= LOCK_BYTES && stat.blocks * 512 >= stat.size) return;
  const fd = openSync(lock, constants.O_RDWR | constants.O_CREAT, 0o664);
  try {
    writeSync(fd, new Uint8Array(LOCK_BYTES), 0, LOCK_BYTES, 0);
  } finally {
    closeSync(fd);
  }
}

function guard(path: string, opening: () => Environment): Environment {
  allocateLock(path);
  try {
    return opening();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException & { code?: string | number };
    // -30793 MDB_INVALID, -30796 MDB_CORRUPTED, -30794 MDB_VERSION_MISMATCH
    if ([-30793, -30796, -30794].includes(Number(code))) {
      throw new MilepostError("damaged", `${path}: ${message}`);
    }
    throw error;
  }
}

/** Runs `body` in one transaction; returns when it is at the environment's level. */
export function transact(env: Environment, flushed: boolean, body: () => void): void {
  env.transactionSync(body, (flushed ? undefined : COMMIT_LOGGED) as undefined);
}

/** Within `transact`. lmdb reports a refused put by its result, not by throwing. */
export function put(env: Environment, key: Uint8Array, value: Uint8Array, append: boolean): void {
  const done = env.put(key, value, { append } as never) as unknown as { result: boolean };
  if (!done.result) throw new Error("lmdb refused a put");
}

export function headerKey(partition: number): Uint8Array {
  const key = new Uint8Array(5);
  key[0] = KIND_HEADER;
  setU32(key, 1, partition);
  return key;
}

export function valueKey(commit: number, number: number, key = new Uint8Array(7)): Uint8Array {
  key[0] = KIND_VALUE;
  setU32(key, 1, commit);
  key[5] = number >>> 8;
  key[6] = number;
  return key;
}

export function tableKey(partition: number, lastOffset: number): Uint8Array {
  const key = new Uint8Array(13);
  key[0] = KIND_TABLE;
  setU32(key, 1, partition);
  setI64(key, 5, lastOffset);
  return key;
}

export function keyIndexKey(partition: number, chunk: number): Uint8Array {
  const key = new Uint8Array(9);
  key[0] = KIND_KEY_INDEX;
  setU32(key, 1, partition);
  setU32(key, 5, chunk);
  return key;
}

/** A file's name is on disk only once its directory is. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** A full disk: the transaction is undone and the environment still good. */
export function isDiskFull(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: string };
  return (
    code === 28 || code === "ENOSPC" || code === -30792 || /no space left/i.test(message ?? "")
  );
}

/** A full disk as the error that clients know; it leaves everything as it was. */
export function orDiskFull<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (isDiskFull(error)) throw new MilepostError("disk_full");
    throw error;
  }
}
