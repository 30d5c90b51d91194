/** The rows of one file while they wait: blocks of columns, and the drivers and trips they name. */
import type { PingRow } from "./ping-row.ts";
import { blockRows, RowBlock } from "./row-block.ts";
import { TextTable } from "./text-table.ts";

export class HeldRows {
  readonly blocks: RowBlock[] = [];
  readonly ids = new TextTable();
  readonly trips = new TextTable();
  /** What it takes of memory. */
  heldBytes = this.ids.heldBytes + this.trips.heldBytes;
  /** By driver: the trip of the last row, which is mostly the next one's too. */
  #lastTrips = new Int32Array(this.ids.ends.length);
  readonly #free: RowBlock[];
  #last: RowBlock | null = null;
  /** Of all blocks but the last. */
  #fullBytes = 0;

  /** `free`: blocks to be taken, and where they go back to. */
  constructor(free: RowBlock[]) {
    this.#free = free;
  }

  get count(): number {
    return this.#last === null ? 0 : (this.blocks.length - 1) * blockRows + this.#last.rows;
  }

  put(row: PingRow, offset: number): void {
    let block = this.#last;
    if (block === null || block.full) {
      this.#fullBytes += block?.heldBytes ?? 0;
      block = this.#last = this.#free.pop() ?? new RowBlock();
      this.blocks.push(block);
    }
    const id = this.ids.put(row.id, row.idStart, row.idEnd);
    block.put(row, offset, id, row.tripStart < 0 ? -1 : this.#tripOf(row, id));
    this.heldBytes = this.#fullBytes + block.heldBytes + this.ids.heldBytes + this.trips.heldBytes;
  }

  #tripOf({ trip, tripStart, tripEnd }: PingRow, id: number): number {
    if (id >= this.#lastTrips.length) {
      const more = new Int32Array(this.ids.ends.length);
      more.set(this.#lastTrips);
      this.#lastTrips = more;
    }
    const last = this.#lastTrips[id] - 1;
    if (last >= 0 && this.trips.is(last, trip, tripStart, tripEnd)) return last;
    const found = this.trips.put(trip, tripStart, tripEnd);
    this.#lastTrips[id] = found + 1;
    return found;
  }

  release(): void {
    for (const block of this.blocks) {
      block.clear();
      this.#free.push(block);
    }
    this.blocks.length = 0;
    this.#last = null;
  }
}
