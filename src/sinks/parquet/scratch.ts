/** Memory for a file's columns that the next file uses again: fresh pages would be garbage. */
export class Scratch {
  readonly #buffers: ArrayBuffer[] = [];

  /** What was in the slot is lost. */
  doubles(slot: number, count: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#buffer(slot, 8 * count), 0, count);
  }

  floats(slot: number, count: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#buffer(slot, 4 * count), 0, count);
  }

  ints(slot: number, count: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#buffer(slot, 4 * count), 0, count);
  }

  #buffer(slot: number, bytes: number): ArrayBuffer {
    let buffer = this.#buffers[slot];
    if (buffer === undefined || buffer.byteLength < bytes) {
      buffer = this.#buffers[slot] = new ArrayBuffer(bytes);
    }
    return buffer;
  }
}
