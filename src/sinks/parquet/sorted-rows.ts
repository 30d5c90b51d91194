/** Rows in the order of their file: one driver stands together, by offset. Column by column. */
import type { HeldRows } from "../held-rows.ts";
import type { Scratch } from "./scratch.ts";
import { copyBytes } from "../../lib/copy-bytes.ts";
import { blockRows, type RowBlock } from "../row-block.ts";
import type { TextTable } from "../text-table.ts";

type DoubleColumn = "ts" | "received" | "offset" | "lat" | "lon";
type FloatColumn = "speed" | "heading" | "accuracy" | "altitude" | "battery";
type TextColumn = "id" | "trip";

/** Of `Scratch`. */
export const slots = { column: 0, places: 1, lat: 2, lon: 3, indices: 4 } as const;

const OPEN = 0x7b;
const CLOSE = 0x7d;

export class SortedRows {
  readonly count: number;
  readonly ids: TextTable;
  readonly trips: TextTable;
  /** Numbers of ids in the order of their bytes. */
  readonly idsInOrder: Int32Array;
  readonly #blocks: RowBlock[];
  /** By row as it came: where it goes. */
  readonly #places: Int32Array;
  readonly #scratch: Scratch;

  /** A column is in `scratch`, and in its slot until the next one: for most there is one slot. */
  constructor(rows: HeldRows, scratch: Scratch) {
    this.count = rows.count;
    this.ids = rows.ids;
    this.trips = rows.trips;
    this.#blocks = rows.blocks;
    this.#scratch = scratch;
    this.idsInOrder = inOrder(rows.ids);
    this.#places = this.#sort();
  }

  doubles(name: DoubleColumn, slot: number = slots.column): Float64Array<ArrayBuffer> {
    const column = this.#scratch.doubles(slot, this.count);
    for (const [b, block] of this.#blocks.entries()) {
      placeDoubles(column, this.#places, b * blockRows, block[name], block.rows);
    }
    return column;
  }

  floats(name: FloatColumn): Float32Array<ArrayBuffer> {
    const column = this.#scratch.floats(slots.column, this.count);
    for (const [b, block] of this.#blocks.entries()) {
      placeFloats(column, this.#places, b * blockRows, block[name], block.rows);
    }
    return column;
  }

  texts(name: TextColumn): Int32Array<ArrayBuffer> {
    const column = this.#scratch.ints(slots.column, this.count);
    for (const [b, block] of this.#blocks.entries()) {
      placeNumbers(column, this.#places, b * blockRows, block[name], block.rows);
    }
    return column;
  }

  /** Of the texts of `extra`; 0: null. */
  extraLengths(): Float64Array<ArrayBuffer> {
    const lengths = this.#scratch.doubles(slots.column, this.count);
    let row = 0;
    for (const { rows, extraEnds } of this.#blocks) {
      for (let i = 0, start = 0; i < rows; i++) {
        const end = extraEnds[i];
        lengths[this.#places[row++]] = end > start ? end - start + 2 : 0;
        start = end;
      }
    }
    return lengths;
  }

  /** Puts the texts of `extra` where they begin. */
  copyExtras(to: Uint8Array, starts: Int32Array): void {
    let row = 0;
    for (const { rows, extra, extraEnds } of this.#blocks) {
      for (let i = 0, start = 0; i < rows; i++) {
        const end = extraEnds[i];
        const at = starts[this.#places[row++]];
        if (end > start) {
          to[at] = OPEN;
          copyBytes(extra, start, end, to, at + 1);
          to[at + 1 + end - start] = CLOSE;
        }
        start = end;
      }
    }
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
    const places = this.#scratch.ints(slots.places, count);
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

function placeDoubles(
  column: Float64Array,
  places: Int32Array,
  from: number,
  values: Float64Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) column[places[from + i]] = values[i];
}

function placeFloats(
  column: Float32Array,
  places: Int32Array,
  from: number,
  values: Float32Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) column[places[from + i]] = values[i];
}

function placeNumbers(
  column: Int32Array,
  places: Int32Array,
  from: number,
  values: Int32Array,
  count: number,
): void {
  for (let i = 0; i < count; i++) column[places[from + i]] = values[i];
}
