/** Bytes that grow as they are written; numbers as Parquet and Thrift have them. */
import { copyBytes } from "../../lib/copy-bytes.ts";

export class ByteWriter {
  bytes: Uint8Array;
  end = 0;

  constructor(bytes = 4096) {
    this.bytes = new Uint8Array(bytes);
  }

  /** So many more can be written without looking. */
  room(more: number): void {
    const wanted = this.end + more;
    if (wanted <= this.bytes.byteLength) return;
    const bytes = new Uint8Array(Math.max(wanted, 2 * this.bytes.byteLength));
    bytes.set(this.bytes.subarray(0, this.end));
    this.bytes = bytes;
  }

  byte(value: number): void {
    this.room(1);
    this.bytes[this.end++] = value;
  }

  /** Little-endian. */
  uint32(value: number): void {
    this.room(4);
    this.setUint32(this.end, value);
    this.end += 4;
  }

  setUint32(at: number, value: number): void {
    for (let k = 0; k < 4; k++) this.bytes[at + k] = value >>> (8 * k);
  }

  /** Two's complement, little-endian; a whole number as a double has it. */
  int64(value: number): void {
    const high = Math.floor(value / 2 ** 32);
    this.uint32(value - high * 2 ** 32);
    this.uint32(high);
  }

  double(value: number): void {
    this.room(8);
    new DataView(this.bytes.buffer).setFloat64(this.end, value, true);
    this.end += 8;
  }

  float(value: number): void {
    this.room(4);
    new DataView(this.bytes.buffer).setFloat32(this.end, value, true);
    this.end += 4;
  }

  /** ULEB128, of a whole number up to 2^53. */
  varint(value: number): void {
    this.room(8);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      this.bytes[this.end++] = (rest % 0x80) | 0x80;
    }
    this.bytes[this.end++] = rest;
  }

  /** Of a whole number within ±2^52. */
  zigzag(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  copy(source: Uint8Array, start = 0, end = source.byteLength): void {
    this.room(end - start);
    copyBytes(source, start, end, this.bytes, this.end);
    this.end += end - start;
  }

  /** So many, to be written by whoever takes them. */
  take(length: number): Uint8Array {
    this.room(length);
    this.end += length;
    return this.bytes.subarray(this.end - length, this.end);
  }

  /** A BYTE_ARRAY as PLAIN has it: behind its length. */
  text(source: Uint8Array, start = 0, end = source.byteLength): void {
    this.uint32(end - start);
    this.copy(source, start, end);
  }

  written(): Uint8Array {
    return this.bytes.subarray(0, this.end);
  }
}
