/**
 * Rows in PostgreSQL's binary COPY format, written by hand into chunks of 64 KiB straight from the
 * records' bytes. Source: PostgreSQL's documentation of COPY, "Binary Format"; a field is its
 * length (-1: null) and its value as the type's receive function takes it, all big-endian.
 */
import type { RecordCursor } from "../batch/records.ts";
import { copyBytes } from "../lib/copy-bytes.ts";
import { limits } from "../model/limits.ts";
import { CellCache } from "../partitions/cell.ts";
import { murmur2 } from "../partitions/murmur2.ts";
import type { RowEncoder } from "./database.ts";
import type { OwnColumns } from "./own-columns.ts";
import { cellResolution, PingRow } from "./ping-row.ts";

/** In the order of their fields below; the types are what the bytes are. */
export const columns: readonly { name: string; type: string }[] = [
  { name: "ts", type: "timestamptz" },
  { name: "id", type: "text" },
  { name: "lat", type: "float8" },
  { name: "lon", type: "float8" },
  { name: "speed", type: "float4" },
  { name: "heading", type: "float4" },
  { name: "accuracy", type: "float4" },
  { name: "altitude", type: "float4" },
  { name: "battery", type: "float4" },
  { name: "trip", type: "text" },
  { name: "h3", type: "int8" },
  { name: "extra", type: "jsonb" },
  { name: "received_at", type: "timestamptz" },
  { name: "k_topic", type: "text" },
  { name: "k_partition", type: "int4" },
  { name: "k_offset", type: "int8" },
];

const dayMs = 86_400_000;
/** 2000-01-01, where PostgreSQL's times begin. */
const epochMs = 946_684_800_000;
const twoTo32 = 2 ** 32;
const jsonbVersion = 1;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Of a row without its texts: its count, 16 lengths, and numbers. */
const fixedBytes = 2 + 16 * 4 + 8 + 8 + 8 + 5 * 4 + 8 + 3 + 8 + 4 + 8;

const header = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const trailer = Buffer.from([0xff, 0xff]);

export class CopyEncoder implements RowEncoder<Buffer> {
  readonly row = new PingRow();
  /** Days since 1970 that rows were of, as long as `day` is not asked for them. */
  readonly days = new Set<number>();
  #day = -1;
  readonly #cells = new CellCache(cellResolution, undefined, "int64", limits.sinkCellsMax);
  readonly #own: OwnColumns | null;
  /** Chunks that were given away since `reuse`, and those that may be written to again. */
  #out: Buffer[] = [];
  #free: Buffer[] = [];
  #bytes: Buffer = Buffer.alloc(0);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;
  #topic: Uint8Array = Buffer.alloc(0);
  #partition = 0;

  /** `own`: columns of the table beyond `columns`, which follow them in each row. */
  constructor(own: OwnColumns | null) {
    this.#own = own;
  }

  begin(): void {
    this.days.clear();
    this.#day = -1;
    // of a COPY that failed: a socket may still hold them
    this.#out = [];
    this.#next(0);
    this.#append(header);
  }

  refuses(): null {
    return null;
  }

  from(topic: string, partition: number): void {
    this.#topic = Buffer.from(topic);
    this.#partition = partition;
  }

  /** Reads the record and, when it is a row, writes it; else gives back why it is none. */
  put(record: RecordCursor, offset: number = record.offset): string | null {
    const reason = this.row.read(record);
    if (reason === null) this.#write(this.row, offset);
    return reason;
  }

  /** A chunk that is full, if one is. */
  full(): Buffer | null {
    return this.#at >= limits.copyChunkBytes ? this.#take() : null;
  }

  end(): Buffer {
    this.#append(trailer);
    return this.#take();
  }

  /** Nobody needs the chunks of before any more. */
  reuse(): void {
    this.#free.push(...this.#out);
    this.#out = [];
  }

  #take(): Buffer {
    const chunk = this.#bytes.subarray(0, this.#at);
    this.#out.push(this.#bytes);
    this.#next(0);
    return chunk;
  }

  #next(kept: number, more = 0): void {
    // a chunk is full when it has reached its size: a row of usual length still fits behind that
    const size = Math.max(limits.copyChunkBytes + 4096, kept + more);
    const free = this.#free.pop();
    const fits = free !== undefined && free.byteLength >= size;
    const bytes = fits ? free : Buffer.allocUnsafeSlow(size);
    this.#bytes.copy(bytes, 0, 0, kept);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    this.#at = kept;
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.byteLength);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  #room(length: number): void {
    if (this.#at + length > this.#bytes.byteLength) this.#next(this.#at, length);
  }

  #write(row: PingRow, offset: number): void {
    const own = this.#own?.read(row) ?? null;
    const trip = row.tripStart < 0 ? 0 : row.tripEnd - row.tripStart;
    const texts = row.idEnd - row.idStart + trip + row.extraEnd - row.extraStart;
    this.#room(fixedBytes + texts + this.#topic.byteLength + (own?.bytesMax ?? 0));
    const day = Math.floor(row.ts / dayMs);
    if (day !== this.#day) {
      this.#day = day;
      this.days.add(day);
    }
    const view = this.#view;
    view.setInt16(this.#at, columns.length + (this.#own?.count ?? 0));
    this.#at += 2;
    this.#time(row.ts);
    this.#text(row.id, row.idStart, row.idEnd);
    this.#float8(row.lat);
    this.#float8(row.lon);
    this.#float4(row.speed);
    this.#float4(row.heading);
    this.#float4(row.accuracy);
    this.#float4(row.altitude);
    this.#float4(row.battery);
    if (row.tripStart < 0) this.#null();
    else this.#text(row.trip, row.tripStart, row.tripEnd);
    const hash = murmur2(row.id, row.idStart, row.idEnd);
    this.#cell(this.#cells.cellOf(hash, row.lat, row.lon));
    if (own === null) this.#json(row.extra, row.extraStart, row.extraEnd);
    else this.#json(own.extra, 0, own.extra.byteLength);
    this.#time(row.received);
    this.#text(this.#topic, 0, this.#topic.byteLength);
    view.setInt32(this.#at, 4);
    view.setInt32(this.#at + 4, this.#partition);
    this.#at += 8;
    this.#int8(offset);
    if (own !== null) for (const value of own.values) this.#value(value);
  }

  #value(value: Buffer | null): void {
    if (value === null) this.#null();
    else this.#text(value, 0, value.byteLength);
  }

  #null(): void {
    this.#view.setInt32(this.#at, -1);
    this.#at += 4;
  }

  #float8(value: number): void {
    this.#view.setInt32(this.#at, 8);
    this.#view.setFloat64(this.#at + 4, value);
    this.#at += 12;
  }

  #float4(value: number): void {
    if (Number.isNaN(value)) return this.#null();
    this.#view.setInt32(this.#at, 4);
    this.#view.setFloat32(this.#at + 4, value);
    this.#at += 8;
  }

  #int8(value: number): void {
    const high = Math.floor(value / twoTo32);
    this.#view.setInt32(this.#at, 8);
    this.#view.setInt32(this.#at + 4, high);
    this.#view.setUint32(this.#at + 8, value - high * twoTo32);
    this.#at += 12;
  }

  /** Microseconds. */
  #time(ms: number): void {
    const micros = Math.floor((ms - epochMs) * 1000);
    if (Number.isSafeInteger(micros)) return this.#int8(micros);
    this.#view.setInt32(this.#at, 8);
    this.#view.setBigInt64(this.#at + 4, BigInt(Math.floor(ms) - epochMs) * 1000n);
    this.#at += 12;
  }

  #text(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start;
    this.#view.setInt32(this.#at, length);
    copyBytes(bytes, start, end, this.#bytes, this.#at + 4);
    this.#at += 4 + length;
  }

  #cell(cell: Uint8Array): void {
    const bytes = this.#bytes;
    this.#view.setInt32(this.#at, 8);
    const at = this.#at + 4;
    for (let i = 0; i < 8; i++) bytes[at + i] = cell[i];
    this.#at = at + 8;
  }

  #json(members: Uint8Array, start: number, end: number): void {
    const length = end - start;
    if (length === 0) return this.#null();
    const at = this.#at;
    this.#view.setInt32(at, length + 3);
    const bytes = this.#bytes;
    bytes[at + 4] = jsonbVersion;
    bytes[at + 5] = OPEN;
    copyBytes(members, start, end, bytes, at + 6);
    bytes[at + 6 + length] = CLOSE;
    this.#at = at + 7 + length;
  }
}
