/**
 * What live tracking knows, in a file of its own: a restart serves it at once, and goes on in the
 * log where it ends.
 *
 *     magic | block: topic, offsets | block: rows … | block of no rows: the end
 *     block: length u32 | CRC-32C u32 | payload     rows: count u32 | columns | entries
 *
 * It is fuzzy: offsets are taken first, and rows written in slices while pings go on changing them.
 * A row may so be newer than the offsets, never older, and reading the log from those offsets comes
 * to the same table: *latest* does not depend on how often a ping is looked at.
 *
 * Numbers are in the machine's own order of bytes; elsewhere the magic is another, and the file
 * ignored, as is one of another version.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { mkdir, open, rename, rm, type FileHandle } from "node:fs/promises";
import { dirname } from "node:path";
import { crcOf } from "../batch/header.ts";
import type { DriverIndex } from "./driver-index.ts";
import { type DriverTable, ENTRY_BYTES_MAX, NO_ROW, STALE } from "./drivers.ts";
import type { TrackedTo, Tracker } from "./tracker.ts";

const MAGIC = 0x4d50_4c01;
const MAGIC_BYTES = 4;
const HEAD_BYTES = 8;
const COUNT_BYTES = 4;
/** A slice holds up a loop turn for less than a millisecond. */
const SLICE_ROWS = 4096;
const SLICE_BYTES = 512 * 1024;
/** Of the time, writing takes a tenth at the most. */
const REST_AFTER = 9;

type Column = Float64Array | Int32Array | Uint16Array | Uint8Array;

const columnsOf = (d: DriverTable): Column[] => {
  const { lat, lon, ts, received, offset, trip, partition, restBytes, idBytes, flags } = d;
  return [lat, lon, ts, received, offset, trip, partition, restBytes, idBytes, flags];
};

export type CheckpointOptions = {
  path: string;
  drivers: DriverTable;
  index: DriverIndex;
  tracker: Pick<Tracker, "trackedTo">;
  report: (line: string) => void;
};

export class Checkpoint {
  readonly #o: CheckpointOptions;
  /** When nothing was known that it has not. */
  #completeMs: number | null = null;
  #saved = "";
  #saving: Promise<void> | null = null;
  #notBefore = 0;
  #fault = "";

  constructor(options: CheckpointOptions) {
    this.#o = options;
  }

  /** Fills the table; where to go on in the log, null when there is no telling. */
  load(): TrackedTo | null {
    const { path, report } = this.#o;
    let fd: number;
    try {
      fd = openSync(path, "r");
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT")
        report(`${path} cannot be read (${code}): positions come from the log`);
      return null;
    }
    try {
      return this.#read(fd);
    } catch (error) {
      const why = (error as Error).message;
      report(`${path} is no use (${why}): positions come from the log`);
      return null;
    } finally {
      closeSync(fd);
    }
  }

  /** Everything that was known so long ago is in it; `null`: not yet looked at. */
  get ageMs(): number | null {
    return this.#completeMs === null ? null : performance.now() - this.#completeMs;
  }

  /** Writes what has changed, unless that was done a moment ago. */
  saveSoon(): Promise<void> {
    return performance.now() < this.#notBefore ? Promise.resolve() : this.save();
  }

  async save(): Promise<void> {
    await this.#saving;
    this.#saving = this.#save().finally(() => (this.#saving = null));
    await this.#saving;
  }

  async #save(): Promise<void> {
    const to = this.#o.tracker.trackedTo;
    const state = JSON.stringify(to);
    const began = performance.now();
    if (to === null) return;
    if (state === this.#saved) {
      this.#completeMs = began;
      return;
    }
    try {
      await this.#write(to);
      this.#saved = state;
      this.#completeMs = began;
      this.#fault = "";
    } catch (error) {
      const fault = `checkpoint of live tracking: ${(error as Error).message}`;
      if (fault !== this.#fault) this.#o.report(fault);
      this.#fault = fault;
    }
    const ended = performance.now();
    this.#notBefore = ended + REST_AFTER * (ended - began);
  }

  async #write(to: TrackedTo): Promise<void> {
    const { path, drivers } = this.#o;
    const aside = `${path}.new`;
    await mkdir(dirname(path), { recursive: true });
    try {
      const file = await open(aside, "w");
      try {
        const magic = Buffer.alloc(MAGIC_BYTES);
        new Uint32Array(magic.buffer, magic.byteOffset, 1)[0] = MAGIC;
        await file.write(magic);
        const head = Buffer.from(JSON.stringify(to));
        const first = Buffer.alloc(HEAD_BYTES + head.byteLength);
        head.copy(first, HEAD_BYTES);
        await writeBlock(file, first, first.byteLength);
        await writeRows(file, drivers);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(aside, path);
      await syncDirectory(dirname(path));
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    }
  }

  #read(fd: number): TrackedTo {
    const reader = new BlockReader(fd);
    const head = parseHead(reader.block());
    for (;;) {
      const block = reader.block();
      const rows = block.readUInt32LE(0);
      if (rows === 0) break;
      this.#take(block, rows);
    }
    this.#saved = JSON.stringify(head);
    return head;
  }

  #take(block: Buffer, rows: number): void {
    const { drivers, index } = this.#o;
    let at = COUNT_BYTES;
    if (rows > block.byteLength) throw new Error("damaged");
    const columns = columnsOf(drivers).map((column): Column => {
      const slice = new (column.constructor as new (length: number) => Column)(rows);
      new Uint8Array(slice.buffer).set(block.subarray(at, (at += slice.byteLength)));
      return slice;
    });
    const [lat, lon, ts, received, offset, trip, partition, restBytes, idBytes, flags] = columns;
    let end = at;
    for (let i = 0; i < rows; i++) {
      end += idBytes[i] + restBytes[i];
      if (!(Math.abs(lat[i]) <= 90 && Math.abs(lon[i]) <= 180)) throw new Error("damaged");
    }
    if (end !== block.byteLength) throw new Error("damaged");
    for (let i = 0; i < rows; i++) {
      const start = at;
      const rest = start + idBytes[i];
      at = rest + restBytes[i];
      if (idBytes[i] === 0) continue;
      let row = drivers.find(block, start, rest);
      // a driver that was forgotten and came back while the file was written may stand there twice
      if (row !== NO_ROW && drivers.fix(row) > Math.min(ts[i], received[i])) continue;
      if (row === NO_ROW) row = drivers.add(block, start, rest);
      drivers.lat[row] = lat[i];
      drivers.lon[row] = lon[i];
      drivers.ts[row] = ts[i];
      drivers.received[row] = received[i];
      drivers.offset[row] = offset[i];
      drivers.trip[row] = trip[i];
      drivers.partition[row] = partition[i];
      drivers.flags[row] = flags[i] & ~STALE;
      drivers.keepRest(row, block, rest, at);
      index.put(row);
    }
  }
}

async function writeRows(file: FileHandle, drivers: DriverTable): Promise<void> {
  const rowBytes = columnsOf(drivers).reduce((sum, c) => sum + c.BYTES_PER_ELEMENT, 0);
  const most = SLICE_ROWS * rowBytes + SLICE_BYTES + ENTRY_BYTES_MAX;
  const buffer = Buffer.allocUnsafe(HEAD_BYTES + COUNT_BYTES + most);
  // rows that come while this goes on are newer than the offsets
  for (let row = 0, { rows } = drivers; row < rows;) {
    const to = sliceEnd(drivers, row, rows);
    let at = buffer.writeUInt32LE(to - row, HEAD_BYTES);
    for (const column of columnsOf(drivers)) {
      const { buffer: of, byteOffset, BYTES_PER_ELEMENT: size } = column;
      buffer.set(new Uint8Array(of, byteOffset + row * size, (to - row) * size), at);
      at += (to - row) * size;
    }
    for (; row < to; row++) if (drivers.isUsed(row)) at = drivers.copyEntry(row, buffer, at);
    await writeBlock(file, buffer, at);
  }
  buffer.writeUInt32LE(0, HEAD_BYTES);
  await writeBlock(file, buffer, HEAD_BYTES + COUNT_BYTES);
}

function sliceEnd({ idBytes, restBytes }: DriverTable, from: number, rows: number): number {
  let row = from;
  for (let bytes = 0; row < rows && row < from + SLICE_ROWS && bytes < SLICE_BYTES; row++) {
    bytes += idBytes[row] + restBytes[row];
  }
  return row;
}

/** The first `end` bytes of `buffer`, its first eight not filled yet. */
async function writeBlock(file: FileHandle, buffer: Buffer, end: number): Promise<void> {
  buffer.writeUInt32LE(end - HEAD_BYTES, 0);
  buffer.writeUInt32LE(crcOf(buffer.subarray(HEAD_BYTES, end)), 4);
  for (let at = 0; at < end;) at += (await file.write(buffer, at, end - at)).bytesWritten;
}

/** Reads one block after the other; throws what is wrong with the file. */
class BlockReader {
  readonly #fd: number;
  #left: number;
  #block = Buffer.alloc(0);
  readonly #head = Buffer.alloc(HEAD_BYTES);

  constructor(fd: number) {
    this.#fd = fd;
    this.#left = fstatSync(fd).size;
    this.#fill(this.#head, MAGIC_BYTES);
    const magic = new Uint32Array(this.#head.buffer, this.#head.byteOffset, 1)[0];
    if (magic !== MAGIC) throw new Error("another format or version");
  }

  /** Valid until the next. */
  block(): Buffer {
    this.#fill(this.#head, HEAD_BYTES);
    const length = this.#head.readUInt32LE(0);
    if (length < COUNT_BYTES || length > this.#left) throw new Error("cut off");
    if (length > this.#block.byteLength) this.#block = Buffer.allocUnsafeSlow(length);
    this.#fill(this.#block, length);
    const block = this.#block.subarray(0, length);
    if (crcOf(block) !== this.#head.readUInt32LE(4)) throw new Error("damaged");
    return block;
  }

  #fill(buffer: Buffer, length: number): void {
    if (length > this.#left) throw new Error("cut off");
    this.#left -= length;
    for (let at = 0; at < length;) {
      const read = readSync(this.#fd, buffer, at, length - at, null);
      if (read === 0) throw new Error("cut off");
      at += read;
    }
  }
}

function parseHead(block: Buffer): TrackedTo {
  const head = JSON.parse(block.toString()) as Partial<TrackedTo> | null;
  const { topicId, applied } = head ?? {};
  const isHead = typeof topicId === "string" && Array.isArray(applied);
  if (!isHead || !applied.every(Number.isSafeInteger)) throw new Error("damaged");
  return { topicId, applied };
}

/** A file's name is on disk only once its directory is. */
async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  await handle.sync().finally(() => handle.close());
}
