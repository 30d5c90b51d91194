/** Rows in the order of their file: one driver stands together, by offset. Column by column. */
import type { HeldRows } from "../held-rows.ts";
import { blockRows, type RowBlock } from "../row-block.ts";
import type { TextTable } from "../text-table.ts";

type DoubleColumn = "ts" | "received" | "offset" | "lat" | "lon";
type FloatColumn = "speed" | "heading" | "accuracy" | "altitude" | "battery";
type TextColumn = "id" | "trip";

export class SortedRows {
  readonly count: number;
  readonly ids: TextTable;
  readonly trips: TextTable;
  /** Numbers of ids in the order of their bytes. */
  readonly idsInOrder: Int32Array;
  readonly #blocks: RowBlock[];
  /** By row as it came: where it goes. */
  readonly #places: Int32Array;
  /** One column at a time. */
  readonly #column: ArrayBuffer;

  constructor(rows: HeldRows) {
    this.count = rows.count;
    this.ids = rows.ids;
    this.trips = rows.trips;
    this.#blocks = rows.blocks;
    this.idsInOrder = inOrder(rows.ids);
    this.#column = new ArrayBuffer(8 * this.count);
    this.#places = this.#sort();
  }

  /** Valid until the next column is taken. */
  doubles(name: DoubleColumn): Float64Array {
    const column = new Float64Array(this.#column, 0, this.count);
    const places = this.#places;
    for (const [b, block] of this.#blocks.entries()) {
      const values = block[name];
      for (let i = 0, row = b * blockRows; i < block.rows; i++, row++) {
        column[places[row]] = values[i];
      }
    }
    return column;
  }

  floats(name: FloatColumn): Float32Array {
    const column = new Float32Array(this.#column, 0, this.count);
    const places = this.#places;
    for (const [b, block] of this.#blocks.entries()) {
      const values = block[name];
      for (let i = 0, row = b * blockRows; i < block.rows; i++, row++) {
        column[places[row]] = values[i];
      }
    }
    return column;
  }

  texts(name: TextColumn): Int32Array {
    const column = new Int32Array(this.#column, 0, this.count);
    const places = this.#places;
    for (const [b, block] of this.#blocks.entries()) {
      const values = block[name];
      for (let i = 0, row = b * blockRows; i < block.rows; i++, row++) {
        column[places[row]] = values[i];
      }
    }
    return column;
  }

  /** By place: which row, as `blockOf` and its index there take it. */
  rows(): Int32Array {
    const column = new Int32Array(this.#column, 0, this.count);
    const places = this.#places;
    for (let row = 0; row < this.count; row++) column[places[row]] = row;
    return column;
  }

  blockOf(row: number): RowBlock {
    return this.#blocks[Math.floor(row / blockRows)];
  }

  /** A counting sort by driver; rows came by offset. */
  #sort(): Int32Array {
    const { ids, idsInOrder, count } = this;
    // the same text may have two numbers
    const ranks = new Int32Array(ids.count);
    for (let k = 1, rank = 0; k < ids.count; k++) {
      const [before, id] = [idsInOrder[k - 1], idsInOrder[k]];
      if (!ids.is(id, ids.bytes, ids.startOf(before), ids.endOf(before))) rank++;
      ranks[id] = rank;
    }
    const next = new Int32Array(ids.count + 1);
    for (const block of this.#blocks) {
      for (let i = 0; i < block.rows; i++) next[ranks[block.id[i]] + 1]++;
    }
    for (let rank = 1; rank <= ids.count; rank++) next[rank] += next[rank - 1];
    const places = new Int32Array(count);
    let row = 0;
    for (const block of this.#blocks) {
      for (let i = 0; i < block.rows; i++) places[row++] = next[ranks[block.id[i]]]++;
    }
    return places;
  }
}

function inOrder(texts: TextTable): Int32Array {
  const bytes = Buffer.from(texts.bytes.buffer);
  const order = Int32Array.from({ length: texts.count }, (_, text) => text);
  return order.sort((a, b) =>
    bytes.compare(bytes, texts.startOf(b), texts.endOf(b), texts.startOf(a), texts.endOf(a)),
  );
}
