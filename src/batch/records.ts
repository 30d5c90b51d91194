/**
 * Iterates the records of a RecordBatch v2, compressed or not. A record's fields are read in
 * place: keys and values are views of the batch (or of its decompressed bytes), not copies.
 */
import { MilepostError } from "../model/errors.ts";
import { decompress } from "./compression.ts";
import {
  attributes,
  baseOffset,
  baseTimestamp,
  isControl,
  maxTimestamp,
  recordCount,
} from "./header.ts";
import { HEADER_BYTES } from "./layout.ts";

export type BatchRecord = {
  offset: number;
  timestamp: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  headers: [string, Uint8Array][];
};

const text = new TextDecoder();
const CODEC_MASK = 7;
const LOG_APPEND_TIME = 8;

/** Steps over the records of one batch; `next()` fills the fields, ranges are into `bytes`. */
export class RecordCursor {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  timestamp = 0;
  /** Of the whole record, its length varint included. */
  start = 0;
  end = 0;
  /** Where the key's length stands: from here to the end nothing depends on the batch. */
  fieldsStart = 0;
  /** -1: null. */
  keyStart = -1;
  keyEnd = -1;
  valueStart = -1;
  valueEnd = -1;
  headersStart = 0;
  firstHeader = 0;
  #left = 0;
  #at = 0;
  #baseOffset = 0;
  #baseTimestamp = 0;
  #fixedTimestamp = -1;

  /** Decompresses when needed. Throws `invalid_record` when the records are no records. */
  open(batch: Uint8Array): void {
    const attribute = attributes(batch);
    const codec = attribute & CODEC_MASK;
    this.#left = recordCount(batch);
    this.#baseOffset = baseOffset(batch);
    this.#baseTimestamp = baseTimestamp(batch);
    this.#fixedTimestamp = attribute & LOG_APPEND_TIME ? maxTimestamp(batch) : -1;
    this.bytes = codec === 0 ? batch : decompress(codec, batch.subarray(HEADER_BYTES));
    this.#at = codec === 0 ? HEADER_BYTES : 0;
    this.end = this.#at;
  }

  next(): boolean {
    if (this.#left <= 0) {
      if (this.#at !== this.bytes.byteLength) bad("bytes after the last record");
      return false;
    }
    this.#left--;
    this.start = this.#at;
    const length = this.#varint();
    const end = this.#at + length;
    if (length < 6 || end > this.bytes.byteLength) bad("a record's length");
    this.#at++; // attributes: none are defined
    const timestamp = this.#baseTimestamp + this.#varlong();
    this.timestamp = this.#fixedTimestamp < 0 ? timestamp : this.#fixedTimestamp;
    this.offset = this.#baseOffset + this.#varint();
    this.fieldsStart = this.#at;
    const keyLength = this.#varint();
    this.keyStart = keyLength < 0 ? -1 : this.#at;
    this.#at += Math.max(keyLength, 0);
    this.keyEnd = keyLength < 0 ? -1 : this.#at;
    const valueLength = this.#varint();
    this.valueStart = valueLength < 0 ? -1 : this.#at;
    this.#at += Math.max(valueLength, 0);
    this.valueEnd = valueLength < 0 ? -1 : this.#at;
    if (this.#at >= end) bad("a record's fields");
    this.headersStart = this.#at;
    this.#at = this.end = end;
    return true;
  }

  /** Throws unless the headers are well-formed and fill the rest of the record. */
  checkHeaders(): void {
    if (this.bytes[this.headersStart] === 0 && this.headersStart + 1 === this.end) return;
    const after = this.#at;
    this.#at = this.headersStart;
    const count = this.#varint();
    if (count < 0) bad("a record's headers");
    for (let i = 0; i < count; i++) {
      const name = this.#varint();
      if (name < 0 || this.#at >= this.end) bad("a record's headers");
      this.#at += name;
      const value = this.#varint();
      this.#at += Math.max(value, 0);
    }
    if (this.#at !== this.end) bad("a record's headers");
    this.#at = after;
  }

  key(): Uint8Array | null {
    return this.keyStart < 0 ? null : this.bytes.subarray(this.keyStart, this.keyEnd);
  }

  value(): Uint8Array | null {
    return this.valueStart < 0 ? null : this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  /** How many headers; the first one's place is left in `firstHeader`. */
  headerCount(): number {
    const after = this.#at;
    this.#at = this.headersStart;
    const count = this.#varint();
    this.firstHeader = this.#at;
    this.#at = after;
    return count;
  }

  headers(): [string, Uint8Array][] {
    const after = this.#at;
    this.#at = this.headersStart;
    const count = this.#varint();
    if (count < 0 || count > this.end - this.headersStart) bad("a record's headers");
    const headers: [string, Uint8Array][] = [];
    for (let i = 0; i < count; i++) {
      const name = text.decode(this.#take(this.#varint()));
      headers.push([name, this.#take(Math.max(this.#varint(), 0))]);
    }
    if (this.#at !== this.end) bad("a record's headers");
    this.#at = after;
    return headers;
  }

  #take(length: number): Uint8Array {
    if (length < 0 || this.#at + length > this.end) bad("a record's headers");
    const bytes = this.bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return bytes;
  }

  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) bad("a number at the end");
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    return bad("a number of more than 5 bytes");
  }

  /** Exact up to 2^53, which no time in ms exceeds. */
  #varlong(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = this.bytes[this.#at++];
      if (byte === undefined) bad("a number at the end");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      scale *= 128;
    }
    return bad("a number of more than 10 bytes");
  }
}

function bad(what: string): never {
  throw new MilepostError("invalid_record", what);
}

/** The records of one batch; none for a control batch. */
export function* recordsOf(batch: Uint8Array): Generator<BatchRecord> {
  if (isControl(batch)) return;
  const cursor = new RecordCursor();
  cursor.open(batch);
  while (cursor.next()) {
    yield {
      offset: cursor.offset,
      timestamp: cursor.timestamp,
      key: cursor.key(),
      value: cursor.value(),
      headers: cursor.headers(),
    };
  }
}
