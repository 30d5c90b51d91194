/**
 * Decodes LZ4 frames, as Kafka's `lz4` codec writes them: linked or independent blocks, optional
 * content size and checksums (skipped: a batch has its own CRC).
 * Source: github.com/lz4/lz4, doc/lz4_Frame_format.md and doc/lz4_Block_format.md.
 */
import { MilepostError } from "../model/errors.ts";

const MAGIC = 0x184d2204;
const BLOCK_CHECKSUM = 0x10;
const CONTENT_SIZE = 0x08;
const CONTENT_CHECKSUM = 0x04;
const DICTIONARY_ID = 0x01;
const UNCOMPRESSED = 0x8000_0000;
const MATCH_MIN = 4;

export function lz4FrameDecode(bytes: Uint8Array, maxBytes: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = new Output(maxBytes);
  let at = 0;
  while (at < bytes.byteLength) {
    if (view.getUint32(at, true) !== MAGIC) bad("not a frame");
    const flags = bytes[at + 4];
    if (flags >> 6 !== 1) bad("unknown version");
    at += 7 + (flags & CONTENT_SIZE ? 8 : 0) + (flags & DICTIONARY_ID ? 4 : 0);
    for (;;) {
      if (at + 4 > bytes.byteLength) bad("no end mark");
      const word = view.getUint32(at, true);
      at += 4;
      if (word === 0) break;
      const length = word & 0x7fff_ffff;
      if (at + length > bytes.byteLength) bad("a block's length");
      const block = bytes.subarray(at, at + length);
      if (word >= UNCOMPRESSED) out.literals(block, 0, length);
      else decodeBlock(block, out);
      at += length + (flags & BLOCK_CHECKSUM ? 4 : 0);
    }
    if (flags & CONTENT_CHECKSUM) at += 4;
  }
  return out.done();
}

function decodeBlock(block: Uint8Array, out: Output): void {
  const end = block.byteLength;
  let at = 0;
  const more = (length: number): number => {
    for (;;) {
      if (at >= end) bad("a length at the end");
      const byte = block[at++];
      length += byte;
      if (byte !== 255) return length;
    }
  };
  while (at < end) {
    const token = block[at++];
    const literals = token >> 4 === 15 ? more(15) : token >> 4;
    if (at + literals > end) bad("literals past the end");
    out.literals(block, at, at + literals);
    at += literals;
    if (at === end) return;
    if (at + 2 > end) bad("a match's distance");
    const distance = block[at] | (block[at + 1] << 8);
    at += 2;
    const length = (token & 15) === 15 ? more(15) : token & 15;
    out.match(distance, length + MATCH_MIN);
  }
}

class Output {
  #bytes = new Uint8Array(64 * 1024);
  #size = 0;
  readonly #maxBytes: number;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  literals(from: Uint8Array, start: number, end: number): void {
    this.#reserve(end - start);
    this.#bytes.set(from.subarray(start, end), this.#size);
    this.#size += end - start;
  }

  match(distance: number, length: number): void {
    if (distance === 0 || distance > this.#size) bad("a match before the beginning");
    this.#reserve(length);
    const bytes = this.#bytes;
    let to = this.#size;
    // byte by byte: a match may overlap what it writes
    for (let from = to - distance; length > 0; length--) bytes[to++] = bytes[from++];
    this.#size = to;
  }

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  #reserve(more: number): void {
    const wanted = this.#size + more;
    if (wanted > this.#maxBytes) throw new MilepostError("too_large", "decompressed batch");
    if (wanted <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(wanted, this.#bytes.byteLength * 2));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}

function bad(what: string): never {
  throw new MilepostError("invalid_record", `lz4: ${what}`);
}
