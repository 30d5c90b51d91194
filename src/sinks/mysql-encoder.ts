/**
 * Rows as text, straight from the records' bytes: lines for LOAD DATA, or tuples behind the VALUES
 * of an INSERT. Both take the same escapes.
 */
import type { RecordCursor } from "../batch/records.ts";
import { writeDecimal, writeInteger } from "../lib/write-number.ts";
import { limits } from "../model/limits.ts";
import { CellCache } from "../partitions/cell.ts";
import { murmur2 } from "../partitions/murmur2.ts";
import type { RowEncoder } from "./database.ts";
import type { OwnColumns } from "./own-columns.ts";
import { cellResolution, PingRow } from "./ping-row.ts";

/** `lines`: one a row. `tuples`: with commas between. */
export type Form = "lines" | "tuples";

const marks = {
  lines: { quote: "", open: "", between: "\t", close: "\n", null: "\\N" },
  tuples: { quote: "'", open: "(", between: ",", close: "),", null: "NULL" },
};
const BACKSLASH = 0x5c;
/** By byte, what stands behind the backslash; 0: the byte stands for itself. */
const escapes = new Uint8Array(128);
for (const [byte, letter] of ["\\\\", "''", "\tt", "\nn", "\rr"]) {
  escapes[byte.charCodeAt(0)] = letter.charCodeAt(0);
}

const dayMs = 86_400_000;
/** What a datetime holds. */
const timeMsMin = Date.UTC(1000, 0, 1);
const timeMsEnd = Date.UTC(10_000, 0, 1);
/** Of a row without its texts: two times, twelve numbers, and what stands between. */
const fixedBytes = 2 * 26 + 12 * 26 + 16 * 4;
const MILLION = 1_000_000;
const twoTo32 = 2 ** 32;

/** `2026-11-21 08:30:00.125` */
export function dateTime(ms: number): string {
  return new Date(Math.floor(ms)).toISOString().replace("T", " ").slice(0, -1);
}

export class MysqlEncoder implements RowEncoder<Buffer> {
  /** Rows since `begin`. */
  rows = 0;
  readonly #row = new PingRow();
  readonly #cells = new CellCache(cellResolution, undefined, "int64", limits.sinkCellsMax);
  readonly #own: OwnColumns | null;
  #marks = marks.lines;
  #bytes = Buffer.alloc(0);
  #at = 0;
  #topic: Buffer = Buffer.alloc(0);
  #partition = 0;
  #day = NaN;
  #dayText = "";

  constructor(own: OwnColumns | null) {
    this.#own = own;
  }

  set form(form: Form) {
    this.#marks = marks[form];
  }

  begin(): void {
    this.rows = 0;
    this.#renew(limits.copyChunkBytes);
  }

  refuses({ ts, received }: PingRow): string | null {
    if (!isDateTime(ts)) return "ts: a datetime holds the years 1000 to 9999";
    if (!isDateTime(received)) return "receive time: a datetime holds the years 1000 to 9999";
    return null;
  }

  from(topic: string, partition: number): void {
    this.#topic = Buffer.from(topic);
    this.#partition = partition;
  }

  put(record: RecordCursor, offset: number = record.offset): string | null {
    const row = this.#row;
    const reason = row.read(record) ?? this.refuses(row);
    if (reason !== null) return reason;
    this.#write(row, offset);
    this.rows++;
    return null;
  }

  full(): Buffer | null {
    return this.#at >= limits.copyChunkBytes ? this.#take() : null;
  }

  end(): Buffer {
    return this.#take();
  }

  #take(): Buffer {
    const chunk = this.#bytes.subarray(0, this.#at);
    this.#renew(limits.copyChunkBytes);
    return chunk;
  }

  #renew(size: number): void {
    // a chunk is full when it has reached its size: a row of usual length still fits behind that
    this.#bytes = Buffer.allocUnsafeSlow(size + 4096);
    this.#at = 0;
  }

  #room(length: number): void {
    if (this.#at + length <= this.#bytes.byteLength) return;
    const [bytes, at] = [this.#bytes, this.#at];
    this.#renew(at + length);
    this.#at = bytes.copy(this.#bytes, 0, 0, at);
  }

  #write(row: PingRow, offset: number): void {
    const own = this.#own?.read(row) ?? null;
    const trip = row.tripStart < 0 ? 0 : row.tripEnd - row.tripStart;
    const texts = row.idEnd - row.idStart + trip + row.extraEnd - row.extraStart;
    this.#room(fixedBytes + 2 * (texts + this.#topic.byteLength + (own?.bytesMax ?? 0)));
    const { open, close } = this.#marks;
    this.#mark(open);
    this.#time(row.ts);
    this.#text(row.id, row.idStart, row.idEnd);
    this.#number(row.lat);
    this.#number(row.lon);
    this.#number(row.speed);
    this.#number(row.heading);
    this.#number(row.accuracy);
    this.#number(row.altitude);
    this.#number(row.battery);
    if (row.tripStart < 0) this.#null();
    else this.#text(row.trip, row.tripStart, row.tripEnd);
    const hash = murmur2(row.id, row.idStart, row.idEnd);
    this.#cell(this.#cells.cellOf(hash, row.lat, row.lon));
    if (own === null) this.#json(row.extra, row.extraStart, row.extraEnd);
    else this.#json(own.extra, 0, own.extra.byteLength);
    this.#time(row.received);
    this.#text(this.#topic, 0, this.#topic.byteLength);
    this.#integer(this.#partition);
    this.#integer(offset);
    if (own !== null) {
      for (const value of own.values) {
        if (value === null) this.#null();
        else this.#text(value, 0, value.byteLength);
      }
    }
    // instead of what would be between it and a next one
    this.#at--;
    this.#mark(close);
  }

  #mark(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#at++] = text.charCodeAt(i);
  }

  #null(): void {
    this.#mark(this.#marks.null);
    this.#mark(this.#marks.between);
  }

  #number(value: number): void {
    if (Number.isNaN(value)) return this.#null();
    this.#at = writeDecimal(this.#bytes, this.#at, value);
    this.#mark(this.#marks.between);
  }

  #integer(value: number): void {
    this.#at = writeInteger(this.#bytes, this.#at, value);
    this.#mark(this.#marks.between);
  }

  #time(ms: number): void {
    const whole = Math.floor(ms);
    const day = Math.floor(whole / dayMs);
    if (day !== this.#day) {
      this.#day = day;
      this.#dayText = dateTime(day * dayMs).slice(0, 11);
    }
    const { quote, between } = this.#marks;
    this.#mark(quote);
    this.#mark(this.#dayText);
    const at = this.#at;
    const bytes = this.#bytes;
    const rest = whole - day * dayMs;
    writeTwo(bytes, at, (rest / 3_600_000) | 0);
    bytes[at + 2] = 0x3a;
    writeTwo(bytes, at + 3, ((rest / 60_000) | 0) % 60);
    bytes[at + 5] = 0x3a;
    writeTwo(bytes, at + 6, ((rest / 1000) | 0) % 60);
    bytes[at + 8] = 0x2e;
    const millis = rest % 1000;
    bytes[at + 9] = 0x30 + ((millis / 100) | 0);
    writeTwo(bytes, at + 10, millis % 100);
    this.#at = at + 12;
    this.#mark(quote);
    this.#mark(between);
  }

  #text(bytes: Uint8Array, start: number, end: number): void {
    this.#mark(this.#marks.quote);
    this.#escaped(bytes, start, end);
    this.#mark(this.#marks.quote);
    this.#mark(this.#marks.between);
  }

  #json(members: Uint8Array, start: number, end: number): void {
    if (start === end) return this.#null();
    this.#mark(this.#marks.quote);
    this.#mark("{");
    this.#escaped(members, start, end);
    this.#mark("}");
    this.#mark(this.#marks.quote);
    this.#mark(this.#marks.between);
  }

  #escaped(bytes: Uint8Array, start: number, end: number): void {
    const out = this.#bytes;
    let at = this.#at;
    for (let i = start; i < end; i++) {
      const byte = bytes[i];
      const escape = byte < 128 ? escapes[byte] : 0;
      if (escape !== 0) out[at++] = BACKSLASH;
      out[at++] = escape === 0 ? byte : escape;
    }
    this.#at = at;
  }

  /** 64 bits, the high byte first, in decimal. */
  #cell(cell: Uint8Array): void {
    const high = ((cell[0] << 24) | (cell[1] << 16) | (cell[2] << 8) | cell[3]) >>> 0;
    const low = ((cell[4] << 24) | (cell[5] << 16) | (cell[6] << 8) | cell[7]) >>> 0;
    // in two parts that are exact: all but the last six digits, and those
    const rest = (high % MILLION) * twoTo32 + low;
    const first = Math.floor(high / MILLION) * twoTo32 + Math.floor(rest / MILLION);
    this.#at = writeInteger(this.#bytes, this.#at, first);
    const last = rest % MILLION;
    writeTwo(this.#bytes, this.#at, (last / 10_000) | 0);
    writeTwo(this.#bytes, this.#at + 2, ((last / 100) | 0) % 100);
    writeTwo(this.#bytes, this.#at + 4, last % 100);
    this.#at += 6;
    this.#mark(this.#marks.between);
  }
}

function isDateTime(ms: number): boolean {
  return ms >= timeMsMin && ms < timeMsEnd;
}

function writeTwo(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = 0x30 + ((value / 10) | 0);
  bytes[at + 1] = 0x30 + (value % 10);
}
