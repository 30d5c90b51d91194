/** The pages of a column: how its values are told apart from nulls, and indices from values. */
import { ByteWriter } from "./byte-writer.ts";
import { bitsOf, definitionLevels, hybrid } from "./encodings.ts";
import { Encoding } from "./format.ts";

/** The values of a row group's column. */
export type EncodedColumn = {
  dictionary: { values: number; bytes: Uint8Array } | null;
  encoding: number;
  data: Uint8Array;
  nulls: number;
  /** As PLAIN has them, a text without its length; null: not known. */
  min: Uint8Array | null;
  max: Uint8Array | null;
};

export type Bounds = Pick<EncodedColumn, "min" | "max">;
export const noBounds: Bounds = { min: null, max: null };

/** Which rows have a value; all, as long as none is said to lack one. */
export class Levels {
  readonly rows: number;
  nulls = 0;
  #levels: Int32Array | null = null;

  constructor(rows: number) {
    this.rows = rows;
  }

  lacks(row: number): void {
    this.#levels ??= new Int32Array(this.rows).fill(1);
    this.#levels[row] = 0;
    this.nulls++;
  }

  write(out: ByteWriter): void {
    definitionLevels(out, this.#levels, this.rows);
  }
}

/** A buffer that an unusual file has made so large is given back. */
const keptBytesMax = 2 * 1024 * 1024;

/** Puts pages together, each in memory of its own that the next file uses again. */
export class PageWriter {
  readonly #outs: ByteWriter[] = [];
  #used = 0;

  /** Another file: what was written is no longer needed. */
  begin(): void {
    this.#used = 0;
  }

  /** What `put` writes; until the next `begin`. */
  bytes(put: (out: ByteWriter) => void): Uint8Array {
    let out = this.#outs[this.#used];
    if (out === undefined || out.bytes.byteLength > keptBytesMax) {
      out = this.#outs[this.#used] = new ByteWriter(256);
    }
    this.#used++;
    out.end = 0;
    put(out);
    return out.written();
  }

  /** Values one by one: those that are no nulls, in the encoding. */
  column(
    levels: Levels,
    encoding: number,
    put: (out: ByteWriter) => void,
    bounds: Bounds,
  ): EncodedColumn {
    const data = this.bytes((out) => {
      levels.write(out);
      put(out);
    });
    return { dictionary: null, encoding, data, nulls: levels.nulls, ...bounds };
  }

  /** RLE_DICTIONARY: values once each, as PLAIN has them, and which of them a row has. */
  indexed(
    levels: Levels,
    dictionary: { values: number; bytes: Uint8Array },
    indices: Int32Array,
    bounds: Bounds,
  ): EncodedColumn {
    const data = this.bytes((out) => {
      levels.write(out);
      // no reader needs to know that there are indices of no bits
      const width = Math.max(1, bitsOf(dictionary.values - 1));
      out.byte(width);
      hybrid(out, indices, levels.rows - levels.nulls, width);
    });
    const encoding = Encoding.RLE_DICTIONARY;
    return { dictionary, encoding, data, nulls: levels.nulls, ...bounds };
  }
}
