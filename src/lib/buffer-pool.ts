/**
 * Large buffers that are used again. Fresh ones cost page faults, and what they weigh makes the
 * collector look through the whole heap: a third of what it costs to serve consumers.
 *
 * A buffer that is not given back is collected like any other.
 */
const POOLED_BYTES_MIN = 32 * 1024;

export class BufferPool {
  readonly #bytesMax: number;
  /** Free ones, by size: powers of two. */
  readonly #free = new Map<number, ArrayBuffer[]>();
  readonly #lent = new WeakSet<ArrayBufferLike>();
  /** Of the free ones. */
  #bytes = 0;

  /** Keeps up to `bytesMax` that nobody uses. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Filled with whatever it held before. */
  take(length: number): Uint8Array {
    if (length < POOLED_BYTES_MIN) return Buffer.allocUnsafe(length);
    const size = 2 ** Math.ceil(Math.log2(length));
    let buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) buffer = Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer;
    else this.#bytes -= size;
    this.#lent.add(buffer);
    return new Uint8Array(buffer, 0, length);
  }

  /** What was lent, or a part of it, and nobody uses any more; anything else is left alone. */
  giveBack({ buffer }: Uint8Array): void {
    if (!this.#lent.delete(buffer)) return;
    const size = buffer.byteLength;
    if (this.#bytes + size > this.#bytesMax) return;
    this.#bytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer as ArrayBuffer]);
    else free.push(buffer as ArrayBuffer);
  }
}
