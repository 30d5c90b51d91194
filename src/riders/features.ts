/**
 * Last positions as GeoJSON [RFC 7946], put together from the table's columns and bytes in one
 * buffer that is used again: a feature costs one to three microseconds.
 *
 *     {"type":"Feature","id":"42","geometry":{"type":"Point","coordinates":[77.6,12.9]},
 *      "properties":{"ts":1760000000000,"speed":3,"received":1760000000120,"stale":false}}
 */
import { copyBytes } from "../lib/copy-bytes.ts";
import { writeDecimal, writeInteger } from "../lib/write-number.ts";
import { type DriverTable, ENTRY_BYTES_MAX, STALE } from "../live/drivers.ts";

const text = (s: string): Buffer => Buffer.from(s);
const FEATURE = text('{"type":"Feature","id":');
const POINT = text(',"geometry":{"type":"Point","coordinates":[');
const PROPERTIES = text(']},"properties":{"ts":');
const RECEIVED = text(',"received":');
const IS_FRESH = text(',"stale":false');
const IS_STALE = text(',"stale":true');
const DISTANCE = text(',"distance":');
const END = text("}}");
const COLLECTION = text('{"type":"FeatureCollection","features":[');
const COLLECTION_END = text("]}");
/** All that stands around an id and the ping's other members. */
const AROUND_BYTES = 320;
const BYTES_MIN = 64 * 1024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;

export class FeatureWriter {
  readonly #drivers: DriverTable;
  /**
   * A driver's id, and behind it what its ping says besides numbers. A ping of `pingBytesMax` as
   * its producer wrote it may be longer as we write it (9e15 has sixteen digits).
   */
  readonly #entry = Buffer.allocUnsafeSlow(ENTRY_BYTES_MAX);
  #bytes: Buffer = Buffer.allocUnsafeSlow(BYTES_MIN);
  #at = 0;
  #features = 0;

  constructor(drivers: DriverTable) {
    this.#drivers = drivers;
  }

  /** Valid until the next call. */
  one(row: number): Uint8Array {
    this.#at = 0;
    this.#feature(row, -1);
    return this.#taken();
  }

  begin(): void {
    this.#at = 0;
    this.#features = 0;
    this.#put(COLLECTION);
  }

  /** `metres`: how far away; -1: of no interest. */
  add(row: number, metres: number): void {
    if (this.#features++ > 0) this.#bytes[this.#at++] = COMMA;
    this.#feature(row, metres);
  }

  /** The collection; valid until the next call. */
  end(): Uint8Array {
    this.#put(COLLECTION_END);
    return this.#taken();
  }

  #feature(row: number, metres: number): void {
    const { lat, lon, ts, received, flags, idBytes } = this.#drivers;
    const entry = this.#entry;
    const restStart = idBytes[row];
    const restEnd = this.#drivers.copyEntry(row, entry, 0);
    this.#room(6 * restStart + restEnd + AROUND_BYTES);
    this.#put(FEATURE);
    this.#string(entry, restStart);
    this.#put(POINT);
    this.#at = writeDecimal(this.#bytes, this.#at, lon[row]);
    this.#bytes[this.#at++] = COMMA;
    this.#at = writeDecimal(this.#bytes, this.#at, lat[row]);
    this.#put(PROPERTIES);
    this.#at = writeInteger(this.#bytes, this.#at, ts[row]);
    copyBytes(entry, restStart, restEnd, this.#bytes, this.#at);
    this.#at += restEnd - restStart;
    this.#put(RECEIVED);
    this.#at = writeInteger(this.#bytes, this.#at, received[row]);
    this.#put((flags[row] & STALE) === 0 ? IS_FRESH : IS_STALE);
    if (metres >= 0) {
      this.#put(DISTANCE);
      this.#at = writeDecimal(this.#bytes, this.#at, Math.round(metres * 10) / 10);
    }
    this.#put(END);
  }

  /** The first `length` bytes, as JSON. */
  #string(bytes: Buffer, length: number): void {
    for (let i = 0; i < length; i++) {
      if (bytes[i] !== QUOTE && bytes[i] !== BACKSLASH) continue;
      this.#at += this.#bytes.write(JSON.stringify(bytes.toString("utf8", 0, length)), this.#at);
      return;
    }
    this.#bytes[this.#at++] = QUOTE;
    copyBytes(bytes, 0, length, this.#bytes, this.#at);
    this.#at += length;
    this.#bytes[this.#at++] = QUOTE;
  }

  #put(bytes: Buffer): void {
    copyBytes(bytes, 0, bytes.byteLength, this.#bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.byteLength) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  #taken(): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    // what a thousand pings of 8 KiB needed is not kept for ever
    if (this.#bytes.byteLength > 16 * BYTES_MIN) this.#bytes = Buffer.allocUnsafeSlow(BYTES_MIN);
    return taken;
  }
}
