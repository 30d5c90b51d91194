/**
 * One row a driver and interval of fix time: the first that comes. What the table has already is
 * looked up when a driver is first seen, so that it also holds across restarts.
 */
import { limits } from "../model/limits.ts";
import type { Session } from "./database.ts";
import { BatchCursor, offsetKey } from "./encode.ts";
import { PingRow } from "./ping-row.ts";
import type { Slice } from "./target.ts";

/** Intervals of a driver that are remembered: one that sends what it saved mixes old and new. */
const intervalsKept = 8;

type Looked = Pick<Session<unknown>, "newest">;

export class Sampler {
  readonly #everyMs: number;
  /** By driver, the intervals that have their row; the driver seen last stands last. */
  readonly #drivers = new Map<string, number[]>();
  readonly #row = new PingRow();

  constructor(everyMs: number) {
    this.#everyMs = everyMs;
  }

  /** When partitions change hands, somebody else may have written rows. */
  forget(): void {
    this.#drivers.clear();
  }

  /** The records to be written, by place and offset; those that are no rows among them. */
  async choose(table: Looked, slices: Slice[]): Promise<Set<string>> {
    await this.#lookUp(table, slices);
    const kept = new Set<string>();
    const cursor = new BatchCursor(slices);
    while (cursor.next()) {
      const { record, at } = cursor;
      if (this.#row.read(record) === null && !this.#isFirst(this.#id(), this.#row.ts)) continue;
      kept.add(offsetKey(slices[at], record.offset));
    }
    while (this.#drivers.size > limits.sampledDriversMax) {
      this.#drivers.delete(this.#drivers.keys().next().value as string);
    }
    return kept;
  }

  #id(): string {
    const { id, idStart, idEnd } = this.#row;
    return Buffer.from(id.buffer, id.byteOffset + idStart, idEnd - idStart).toString();
  }

  #isFirst(id: string, ts: number): boolean {
    const interval = Math.floor(ts / this.#everyMs);
    const known = this.#drivers.get(id) ?? [];
    if (known.includes(interval)) return false;
    known.push(interval);
    if (known.length > intervalsKept) known.shift();
    this.#drivers.delete(id);
    this.#drivers.set(id, known);
    return true;
  }

  async #lookUp(table: Looked, slices: Slice[]): Promise<void> {
    const unknown = new Set<string>();
    const cursor = new BatchCursor(slices);
    while (cursor.next()) {
      if (this.#row.read(cursor.record) !== null) continue;
      const id = this.#id();
      if (!this.#drivers.has(id)) unknown.add(id);
    }
    if (unknown.size === 0) return;
    const rows = await table.newest([...unknown], intervalsKept);
    for (const id of unknown) this.#drivers.set(id, []);
    for (const { id, ms } of rows) this.#drivers.get(id)?.push(Math.floor(ms / this.#everyMs));
  }
}
