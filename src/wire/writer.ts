/**
 * Writes Kafka's primitive types into one growing buffer. Record batches are spliced in: they go
 * to the socket from where they lie.
 */

/** Shorter than this, a copy is cheaper than one more piece of a write. */
const SPLICE_BYTES_MIN = 2048;

export class Writer {
  #buffer: Buffer;
  #at = 0;
  #splices: { at: number; bytes: Uint8Array }[] = [];
  #spliced = 0;

  constructor(size = 512) {
    this.#buffer = Buffer.allocUnsafe(size);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#at + this.#spliced;
  }

  /** All that was written, in order. */
  pieces(): Uint8Array[] {
    const pieces: Uint8Array[] = [];
    let from = 0;
    for (const { at, bytes } of this.#splices) {
      if (at > from) pieces.push(this.#buffer.subarray(from, at));
      pieces.push(bytes);
      from = at;
    }
    if (this.#at > from) pieces.push(this.#buffer.subarray(from, this.#at));
    return pieces;
  }

  /** All that was written, as one: a copy where something was spliced in. */
  get bytes(): Buffer {
    const pieces = this.pieces();
    return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  }

  #reserve(length: number): number {
    const at = this.#at;
    const needed = at + length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    this.#at = needed;
    return at;
  }

  int8(value: number): void {
    const at = this.#reserve(1);
    this.#buffer.writeInt8(value, at);
  }
  int16(value: number): void {
    const at = this.#reserve(2);
    this.#buffer.writeInt16BE(value, at);
  }
  int32(value: number): void {
    const at = this.#reserve(4);
    this.#buffer.writeInt32BE(value, at);
  }
  /** Into four bytes that were written before anything was spliced in. */
  setInt32(at: number, value: number): void {
    this.#buffer.writeInt32BE(value, at);
  }
  /** What is above the largest is written as the largest. */
  int64(value: number): void {
    const at = this.#reserve(8);
    const isLargest = value >= 2 ** 63;
    this.#buffer.writeInt32BE(isLargest ? 0x7fffffff : Math.floor(value / 0x1_0000_0000), at);
    this.#buffer.writeUInt32BE(isLargest ? 0xffffffff : value >>> 0, at + 4);
  }

  uvarint(value: number): void {
    let left = value;
    while (left > 0x7f) {
      this.#byte((left & 0x7f) | 0x80);
      left >>>= 7;
    }
    this.#byte(left);
  }

  #byte(value: number): void {
    const at = this.#reserve(1);
    this.#buffer[at] = value;
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  /** `bytes` must stay as they are until they are sent. */
  splice(bytes: Uint8Array): void {
    if (bytes.length < SPLICE_BYTES_MIN) return this.raw(bytes);
    this.#splices.push({ at: this.#at, bytes });
    this.#spliced += bytes.length;
  }

  /** UTF-8 without a length. */
  utf8(text: string): void {
    const length = Buffer.byteLength(text);
    const at = this.#reserve(length);
    this.#buffer.write(text, at, length);
  }
}
