/** Rows that wait for their file, column by column; texts that differ are bytes in a row. */
import { copyBytes } from "../lib/copy-bytes.ts";
import type { PingRow } from "./ping-row.ts";

export const blockRows = 2048;

/** Of a row: numbers, and where its texts are. */
const fixedBytes = 5 * 8 + 5 * 4 + 3 * 4;
/** Of usual pings. */
const extraBytes = 16 * blockRows;

export class RowBlock {
  rows = 0;
  /** ms */
  readonly ts = new Float64Array(blockRows);
  readonly received = new Float64Array(blockRows);
  readonly offset = new Float64Array(blockRows);
  readonly lat = new Float64Array(blockRows);
  readonly lon = new Float64Array(blockRows);
  /** NaN: null. */
  readonly speed = new Float32Array(blockRows);
  readonly heading = new Float32Array(blockRows);
  readonly accuracy = new Float32Array(blockRows);
  readonly altitude = new Float32Array(blockRows);
  readonly battery = new Float32Array(blockRows);
  /** Numbers of texts; -1: null. */
  readonly id = new Int32Array(blockRows);
  readonly trip = new Int32Array(blockRows);
  /** Members of `extra`, one row's behind the other's; where they end. Empty: null. */
  extra = new Uint8Array(extraBytes);
  readonly extraEnds = new Uint32Array(blockRows);
  /** What it takes of memory. */
  heldBytes = fixedBytes * blockRows + extraBytes;
  #extraEnd = 0;

  get full(): boolean {
    return this.rows === blockRows;
  }

  clear(): void {
    this.rows = 0;
    this.#extraEnd = 0;
    // some pings were very long
    if (this.extra.byteLength > 4 * extraBytes) this.#replace(new Uint8Array(extraBytes));
  }

  put(row: PingRow, offset: number, id: number, trip: number): void {
    const i = this.rows++;
    this.ts[i] = row.ts;
    this.received[i] = row.received;
    this.offset[i] = offset;
    this.lat[i] = row.lat;
    this.lon[i] = row.lon;
    this.speed[i] = row.speed;
    this.heading[i] = row.heading;
    this.accuracy[i] = row.accuracy;
    this.altitude[i] = row.altitude;
    this.battery[i] = row.battery;
    this.id[i] = id;
    this.trip[i] = trip;
    const { extraStart, extraEnd } = row;
    if (extraEnd > extraStart) this.#putExtra(row.extra, extraStart, extraEnd);
    this.extraEnds[i] = this.#extraEnd;
  }

  #putExtra(extra: Uint8Array, start: number, end: number): void {
    const wanted = this.#extraEnd + end - start;
    if (wanted > this.extra.byteLength) {
      const larger = new Uint8Array(Math.max(wanted, 2 * this.extra.byteLength));
      larger.set(this.extra.subarray(0, this.#extraEnd));
      this.#replace(larger);
    }
    copyBytes(extra, start, end, this.extra, this.#extraEnd);
    this.#extraEnd = wanted;
  }

  #replace(extra: Uint8Array<ArrayBuffer>): void {
    this.extra = extra;
    this.heldBytes = fixedBytes * blockRows + extra.byteLength;
  }
}
