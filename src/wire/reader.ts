/**
 * Reads Kafka's primitive types from one frame. Every length is checked against what is left, so a
 * hostile one never allocates more than the frame has, and items are counted, as an empty one of a
 * byte or two becomes an object of a hundred. Throws `Malformed`.
 */
export class Malformed extends Error {
  constructor(what: string) {
    super(`malformed: ${what}`);
    this.name = "Malformed";
  }
}

/** The largest number below 2^63 that a double holds. */
const INT64_MAX = 2 ** 63 - 1024;

export class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;
  /** Of all arrays so far. */
  items = 0;
  readonly #itemsMax: number;

  constructor(bytes: Buffer, at = 0, end = bytes.length, itemsMax = Infinity) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
    this.#itemsMax = itemsMax;
  }

  get left(): number {
    return this.end - this.at;
  }

  /** The place of the next `length` bytes, which are then behind. */
  skip(length: number): number {
    if (length < 0 || length > this.end - this.at) throw new Malformed("a length beyond the end");
    const { at } = this;
    this.at += length;
    return at;
  }

  int8(): number {
    return this.bytes.readInt8(this.skip(1));
  }
  int16(): number {
    return this.bytes.readInt16BE(this.skip(2));
  }
  int32(): number {
    return this.bytes.readInt32BE(this.skip(4));
  }
  /** Exact up to 2^53, above it to the nearest that can be written again. */
  int64(): number {
    const at = this.skip(8);
    const value = this.bytes.readInt32BE(at) * 0x1_0000_0000 + this.bytes.readUInt32BE(at + 4);
    return Math.min(value, INT64_MAX);
  }

  /** UNSIGNED_VARINT of at most 32 bits. */
  uvarint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.skip(1)];
      if (shift === 28 && byte > 15) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new Malformed("a number of more than 32 bits");
  }

  utf8(length: number): string {
    const at = this.skip(length);
    return this.bytes.toString("utf8", at, at + length);
  }

  /** Before an array's items are read. Each has a byte at least, and becomes an object. */
  countItems(count: number): void {
    if (count < 0 || count > this.left) throw new Malformed("more items than bytes");
    this.items += count;
    if (this.items > this.#itemsMax) throw new Malformed("too many items");
  }

  /** A view of the frame, not a copy. */
  view(length: number): Buffer {
    const at = this.skip(length);
    return this.bytes.subarray(at, at + length);
  }

  /** Tagged fields that this program does not know. */
  skipTags(): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint();
      this.skip(this.uvarint());
    }
  }
}
