/**
 * Many lists of rows, most of them short, in one column. A list is a chain of chunks of seven rows:
 * whoever visits it meets rows side by side in memory, where a chain of rows would wait for one
 * after the other (three times as long, with 100 000 drivers in a city).
 *
 *     chunk   row row row … | next chunk        only a list's first chunk has free places
 */
export const NONE = -1;

const CHUNK = 8;
const ROWS = CHUNK - 1;
const NEXT = CHUNK - 1;
const CHUNKS_MIN = 1024;

/** A list is its first chunk; a place is where in the column a row stands. */
export class RowLists {
  #column = new Int32Array(CHUNKS_MIN * CHUNK);
  #used = 0;
  /** Chunks given back, chained. */
  #free = NONE;

  /** The list that a new row stands at the head of. */
  listAt(place: number): number {
    return place - (place % CHUNK);
  }

  /** `NONE`: a new list. Returns the row's place; the list is `listAt` that from now on. */
  add(list: number, row: number): number {
    let first = list;
    let at = list === NONE ? ROWS : this.#countIn(list);
    if (at === ROWS) {
      first = this.#take();
      this.#column[first + NEXT] = list;
      at = 0;
    }
    this.#column[first + at] = row;
    return first + at;
  }

  /** The last that came takes the place. `rest`: the list as it is then, `NONE` when empty. */
  remove(list: number, place: number): { moved: number; rest: number } {
    const column = this.#column;
    const last = list + this.#countIn(list) - 1;
    const moved = column[last];
    column[place] = moved;
    column[last] = NONE;
    if (last > list) return { moved, rest: list };
    const rest = column[list + NEXT];
    column[list + NEXT] = this.#free;
    this.#free = list;
    return { moved, rest };
  }

  /** Ends early, with false, when `visit` returns false. */
  visit(list: number, visit: (row: number) => boolean): boolean {
    const column = this.#column;
    for (let chunk = list; chunk !== NONE; chunk = column[chunk + NEXT]) {
      for (let at = chunk; at < chunk + ROWS && column[at] !== NONE; at++) {
        if (!visit(column[at])) return false;
      }
    }
    return true;
  }

  #countIn(chunk: number): number {
    let count = 0;
    while (count < ROWS && this.#column[chunk + count] !== NONE) count++;
    return count;
  }

  #take(): number {
    if (this.#free !== NONE) {
      const chunk = this.#free;
      this.#free = this.#column[chunk + NEXT];
      return chunk;
    }
    if (this.#used === this.#column.length) {
      const grown = new Int32Array(2 * this.#column.length);
      grown.set(this.#column);
      this.#column = grown;
    }
    const chunk = this.#used;
    this.#used += CHUNK;
    this.#column.fill(NONE, chunk, chunk + CHUNK);
    return chunk;
  }
}
