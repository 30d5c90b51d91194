import { copyBytes } from "./copy-bytes.ts";

/** Bytes that come in pieces, however small: what is there is copied only when it has doubled. */
export class Gathered {
  #bytes = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }
  /** All so far; valid until the next piece. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Copies `b[start, end)`. */
  add(b: Uint8Array, start: number, end: number): void {
    const length = this.#length + end - start;
    if (length > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, this.#length * 2));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    copyBytes(b, start, end, this.#bytes, this.#length);
    this.#length = length;
  }
}
