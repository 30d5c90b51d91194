/**
 * Columns that a table has beyond the contract's: filled by name from what would go to `extra`.
 * A value that is not of its column's type stays in `extra`, and the column is null.
 */
import { parseObject } from "../codec/json.ts";
import type { PingRow } from "./ping-row.ts";

export type OwnColumn = { name: string; type: string };

type Write = (value: unknown) => Buffer | null;

const whole = (low: number, high: number, bytes: 2 | 4): Write => {
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value)) return null;
    if (value < low || value > high) return null;
    const out = Buffer.alloc(bytes);
    out.writeIntBE(value, 0, bytes);
    return out;
  };
};

/** By PostgreSQL's name of the type; columns of others are left to their defaults. */
const writers: Readonly<Record<string, Write>> = {
  text: (value) => (typeof value === "string" ? Buffer.from(value) : null),
  bool: (value) => (typeof value === "boolean" ? Buffer.from([Number(value)]) : null),
  int2: whole(-32_768, 32_767, 2),
  int4: whole(-2_147_483_648, 2_147_483_647, 4),
  int8: (value) => {
    if (!Number.isSafeInteger(value)) return null;
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(BigInt(value as number));
    return out;
  },
  float4: (value) => {
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) return null;
    const out = Buffer.alloc(4);
    out.writeFloatBE(value);
    return out;
  },
  float8: (value) => {
    if (typeof value !== "number") return null;
    const out = Buffer.alloc(8);
    out.writeDoubleBE(value);
    return out;
  },
};

export function canFill(type: string): boolean {
  return Object.hasOwn(writers, type);
}

const empty = new Uint8Array(0);

export class OwnColumns {
  readonly #columns: { name: string; write: Write }[];
  /** Of the row read last: a value for each column. */
  readonly #values: (Buffer | null)[];
  /** The members of `extra` that are left. */
  extra: Uint8Array = empty;
  bytesMax = 0;

  constructor(columns: OwnColumn[]) {
    this.#columns = columns.map(({ name, type }) => ({ name, write: writers[type] }));
    this.#values = columns.map(() => null);
  }

  get count(): number {
    return this.#columns.length;
  }

  read(row: PingRow): this {
    const { extra, extraStart: start, extraEnd: end } = row;
    this.#values.fill(null);
    this.extra = extra.subarray(start, end);
    if (end > start) this.#pick(Buffer.concat([Buffer.from("{"), this.extra, Buffer.from("}")]));
    this.bytesMax = this.extra.byteLength;
    for (const value of this.#values) this.bytesMax += 4 + (value?.byteLength ?? 0);
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
      this.#values[i] = value;
      delete members[name];
      picked = true;
    }
    if (picked) this.extra = Buffer.from(JSON.stringify(members).slice(1, -1));
  }

  /** Writes the fields; where they end. */
  write(bytes: Buffer, start: number): number {
    let at = start;
    for (const value of this.#values) {
      at = bytes.writeInt32BE(value?.byteLength ?? -1, at);
      if (value !== null) at += value.copy(bytes, at);
    }
    return at;
  }
}
