/** Lines of a byte stream, without their line ends; a last one needs none. */
export class LineSplitter {
  readonly #lineBytesMax: number;
  #parts: Buffer[] = [];
  #length = 0;

  /** A line that grows beyond `lineBytesMax` throws: it would fill the memory. */
  constructor(lineBytesMax: number) {
    this.#lineBytesMax = lineBytesMax;
  }

  /** The lines that end in this chunk. */
  *push(chunk: Buffer): Generator<Buffer> {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      const rest = chunk.subarray(from, at);
      from = at + 1;
      yield this.#length === 0 ? rest : this.#join(rest);
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  /** What stands after the last line end; null when nothing does. */
  end(): Buffer | null {
    return this.#length === 0 ? null : this.#join(Buffer.alloc(0));
  }

  #keep(part: Buffer): void {
    this.#parts.push(part);
    this.#length += part.length;
    if (this.#length > this.#lineBytesMax) {
      throw new RangeError(`longer than ${this.#lineBytesMax} bytes`);
    }
  }

  #join(rest: Buffer): Buffer {
    const line = Buffer.concat([...this.#parts, rest]);
    this.#parts = [];
    this.#length = 0;
    return line;
  }
}
