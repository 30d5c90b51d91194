/** Texts of which many rows have the same few: each is kept once, and rows have its number. */
import { copyBytes } from "../lib/copy-bytes.ts";
import { murmur2 } from "../partitions/murmur2.ts";

const textsMin = 64;
const textBytesMin = 1024;
/** Texts that were chosen to collide are kept more than once, rather than searched for. */
const probesMax = 32;

export class TextTable {
  count = 0;
  bytes = new Uint8Array(textBytesMin);
  /** Where a text ends, and the next one begins. */
  ends = new Uint32Array(textsMin);
  #hashes = new Int32Array(textsMin);
  /** Open addressing: a text's number and one; 0 is free. Twice as many as texts, at least. */
  #slots = new Int32Array(2 * textsMin);
  /** What all of it takes of memory. */
  heldBytes = this.#measure();

  startOf(text: number): number {
    return text === 0 ? 0 : this.ends[text - 1];
  }

  endOf(text: number): number {
    return this.ends[text];
  }

  is(text: number, source: Uint8Array, start: number, end: number): boolean {
    const own = this.startOf(text);
    if (this.ends[text] - own !== end - start) return false;
    const { bytes } = this;
    for (let i = start, k = own; i < end; i++, k++) if (bytes[k] !== source[i]) return false;
    return true;
  }

  /** The number of a text that may be new. */
  put(source: Uint8Array, start: number, end: number): number {
    const hash = murmur2(source, start, end);
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    for (let probes = 0; probes < probesMax; probes++, slot = (slot + 1) & mask) {
      const text = this.#slots[slot] - 1;
      if (text < 0) {
        this.#slots[slot] = this.count + 1;
        break;
      }
      if (this.#hashes[text] === hash && this.is(text, source, start, end)) return text;
    }
    return this.#add(source, start, end, hash);
  }

  #add(source: Uint8Array, start: number, end: number, hash: number): number {
    const text = this.count++;
    const at = this.startOf(text);
    if (at + end - start > this.bytes.byteLength) {
      this.bytes = grown(this.bytes, Math.max(2 * this.bytes.byteLength, at + end - start));
      this.heldBytes = this.#measure();
    }
    copyBytes(source, start, end, this.bytes, at);
    this.ends[text] = at + end - start;
    this.#hashes[text] = hash;
    if (this.count === this.ends.length) this.#grow();
    return text;
  }

  #grow(): void {
    this.ends = grown(this.ends, 2 * this.count);
    this.#hashes = grown(this.#hashes, 2 * this.count);
    this.#slots = new Int32Array(4 * this.count);
    const mask = this.#slots.length - 1;
    for (let text = 0; text < this.count; text++) {
      let slot = this.#hashes[text] & mask;
      for (let probes = 0; probes < probesMax; probes++, slot = (slot + 1) & mask) {
        if (this.#slots[slot] !== 0) continue;
        this.#slots[slot] = text + 1;
        break;
      }
    }
    this.heldBytes = this.#measure();
  }

  #measure(): number {
    const { bytes, ends } = this;
    return bytes.byteLength + ends.byteLength + this.#hashes.byteLength + this.#slots.byteLength;
  }
}

type Numbers = Uint8Array | Uint32Array | Int32Array;

function grown<Array extends Numbers>(old: Array, length: number): Array {
  const array = new (old.constructor as new (length: number) => Array)(length);
  array.set(old);
  return array;
}
