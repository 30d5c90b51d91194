/**
 * Columns that a table has beyond the contract's: filled by name from what would go to `extra`.
 * A value that is not of its column's type stays in `extra`, and the column is null.
 */
import { parseObject } from "../codec/json.ts";
import type { PingRow } from "./ping-row.ts";

/** A value as the database takes it; null when it is not of the column's type. */
export type WriteValue = (value: unknown) => Buffer | null;
export type OwnColumn = { name: string; write: WriteValue };

const empty = new Uint8Array(0);

export class OwnColumns {
  readonly #columns: readonly OwnColumn[];
  /** Of the row read last: a value for each column. */
  readonly values: (Buffer | null)[];
  /** The members of `extra` that are left. */
  extra: Uint8Array = empty;
  bytesMax = 0;

  constructor(columns: readonly OwnColumn[]) {
    this.#columns = columns;
    this.values = columns.map(() => null);
  }

  get count(): number {
    return this.#columns.length;
  }

  read(row: PingRow): this {
    const { extra, extraStart: start, extraEnd: end } = row;
    this.values.fill(null);
    this.extra = extra.subarray(start, end);
    if (end > start) this.#pick(Buffer.concat([Buffer.from("{"), this.extra, Buffer.from("}")]));
    this.bytesMax = this.extra.byteLength;
    for (const value of this.values) this.bytesMax += 4 + (value?.byteLength ?? 0);
    return this;
  }

  #pick(json: Buffer): void {
    const members = parseObject(json, 0, json.byteLength);
    if (members === null) return;
    let picked = false;
    for (const [i, { name, write }] of this.#columns.entries()) {
      if (!Object.hasOwn(members, name)) continue;
      const value = write(members[name]);
      if (value === null) continue;
      this.values[i] = value;
      delete members[name];
      picked = true;
    }
    if (picked) this.extra = Buffer.from(JSON.stringify(members).slice(1, -1));
  }
}
