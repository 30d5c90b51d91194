/**
 * Rows that wait for their file, column by column as DuckDB has them in memory: a block is one of
 * its vectors long, and goes to it in one copy a column. Texts are bytes in a row until then.
 */
import { copyBytes } from "../lib/copy-bytes.ts";
import { murmur2 } from "../partitions/murmur2.ts";
import type { CellCache } from "../partitions/cell.ts";
import type { PingRow } from "./ping-row.ts";

/** DuckDB's vector size. */
export const blockRows = 2048;

/** Of a row: numbers, and where its texts are. */
const fixedBytes = 6 * 8 + 5 * 4 + 4 * 4;
/** Of usual pings. */
const textBytes = 48 * blockRows;
const twoTo32 = 2 ** 32;
const OPEN = 0x7b;
const CLOSE = 0x7d;

export class RowBlock {
  rows = 0;
  /** Integers of 64 bits, the low half first; microseconds, as DuckDB's timestamps. */
  readonly ts = new Int32Array(2 * blockRows);
  readonly received = new Int32Array(2 * blockRows);
  readonly offset = new Int32Array(2 * blockRows);
  readonly h3 = new Uint8Array(8 * blockRows);
  readonly lat = new Float64Array(blockRows);
  readonly lon = new Float64Array(blockRows);
  /** NaN: null. */
  readonly speed = new Float32Array(blockRows);
  readonly heading = new Float32Array(blockRows);
  readonly accuracy = new Float32Array(blockRows);
  readonly altitude = new Float32Array(blockRows);
  readonly battery = new Float32Array(blockRows);
  /** Of a row its id, trip and extra, one behind the other. */
  texts = new Uint8Array(textBytes);
  /** Three a row; -1: null. */
  readonly lengths = new Int32Array(3 * blockRows);
  /** Where a row's id begins. */
  readonly starts = new Int32Array(blockRows);
  #textEnd = 0;

  get full(): boolean {
    return this.rows === blockRows;
  }

  get bytes(): number {
    return fixedBytes * blockRows + this.texts.byteLength;
  }

  clear(): void {
    this.rows = 0;
    this.#textEnd = 0;
    // some pings were very long
    if (this.texts.byteLength > 4 * textBytes) this.texts = new Uint8Array(textBytes);
  }

  put(row: PingRow, offset: number, cells: CellCache): void {
    const i = this.rows++;
    setInt64(this.ts, i, row.ts * 1000);
    setInt64(this.received, i, row.received * 1000);
    setInt64(this.offset, i, offset);
    const cell = cells.cellOf(murmur2(row.id, row.idStart, row.idEnd), row.lat, row.lon);
    // its high byte comes first
    for (let k = 0; k < 8; k++) this.h3[8 * i + k] = cell[7 - k];
    this.lat[i] = row.lat;
    this.lon[i] = row.lon;
    this.speed[i] = row.speed;
    this.heading[i] = row.heading;
    this.accuracy[i] = row.accuracy;
    this.altitude[i] = row.altitude;
    this.battery[i] = row.battery;
    this.#putTexts(row, i);
  }

  #putTexts(row: PingRow, i: number): void {
    const id = row.idEnd - row.idStart;
    const trip = row.tripStart < 0 ? 0 : row.tripEnd - row.tripStart;
    const members = row.extraEnd - row.extraStart;
    let at = this.#textEnd;
    this.#room(at + id + trip + members + 2);
    const { texts, lengths } = this;
    this.starts[i] = at;
    copyBytes(row.id, row.idStart, row.idEnd, texts, at);
    at += id;
    if (trip > 0) copyBytes(row.trip, row.tripStart, row.tripEnd, texts, at);
    at += trip;
    lengths[3 * i] = id;
    lengths[3 * i + 1] = row.tripStart < 0 ? -1 : trip;
    lengths[3 * i + 2] = members === 0 ? -1 : members + 2;
    if (members > 0) {
      texts[at] = OPEN;
      copyBytes(row.extra, row.extraStart, row.extraEnd, texts, at + 1);
      texts[at + 1 + members] = CLOSE;
      at += members + 2;
    }
    this.#textEnd = at;
  }

  #room(bytes: number): void {
    if (bytes <= this.texts.byteLength) return;
    const texts = new Uint8Array(Math.max(bytes, 2 * this.texts.byteLength));
    texts.set(this.texts.subarray(0, this.#textEnd));
    this.texts = texts;
  }
}

function setInt64(halves: Int32Array, i: number, value: number): void {
  const whole = Math.floor(value);
  const high = Math.floor(whole / twoTo32);
  halves[2 * i] = whole - high * twoTo32;
  halves[2 * i + 1] = high;
}
