/** Rows that wait for their files: of each partition one that grows, and complete ones. */
import { limits } from "../model/limits.ts";
import { HeldRows } from "./held-rows.ts";
import type { PingRow } from "./ping-row.ts";
import type { RowBlock } from "./row-block.ts";
import { placeOf, type TopicPartition } from "./target.ts";

/** A file to be: records `[start, end)`, all received in one hour. */
export type Spool = {
  readonly chain: Chain;
  readonly start: number;
  end: number;
  readonly hour: number;
  readonly rows: HeldRows;
  deadLettered: number;
  newestMs: number;
  sinceMs: number;
};

/**
 * A partition that is ours: published before `safe`, sealed before `start`, taken before `next`;
 * `told` is how far the worker knows it to be safe.
 */
export type Chain = TopicPartition & {
  safe: number;
  start: number;
  next: number;
  told: number;
  current: Spool | null;
};

export class Spools {
  readonly chains = new Map<string, Chain>();
  /** In the order they are to be published. */
  readonly sealed: Spool[] = [];
  heldBytes = 0;
  readonly #free: RowBlock[] = [];

  get full(): boolean {
    return this.heldBytes > limits.parquetHeldBytesMax;
  }

  /** A file is to be written while there is still room for what comes meanwhile. */
  get nearlyFull(): boolean {
    return this.heldBytes > 0.75 * limits.parquetHeldBytesMax;
  }

  /** The one that a record of this hour belongs to. */
  spoolFor(chain: Chain, hour: number, nowMs: number): Spool {
    const { current } = chain;
    if (current !== null) {
      if (current.hour === hour && current.rows.heldBytes < limits.parquetFileBytes) return current;
      this.seal(chain);
    }
    const { start } = chain;
    const rows = new HeldRows(this.#free);
    this.heldBytes += rows.heldBytes;
    const none = { deadLettered: 0, newestMs: 0 };
    const spool = { chain, start, end: start, hour, rows, sinceMs: nowMs, ...none };
    return (chain.current = spool);
  }

  put({ rows }: Spool, row: PingRow, offset: number): void {
    const before = rows.heldBytes;
    rows.put(row, offset);
    this.heldBytes += rows.heldBytes - before;
  }

  /** No more comes into the chain's file. */
  seal(chain: Chain): void {
    const spool = chain.current;
    if (spool === null) return;
    spool.end = chain.next;
    chain.start = chain.next;
    chain.current = null;
    this.sealed.push(spool);
  }

  /** Those that have waited so long. */
  sealOld(beforeMs: number): void {
    for (const chain of this.chains.values()) {
      const spool = chain.current;
      // of records that a sample leaves out there is a file an hour, which is enough
      if (spool === null || spool.rows.count + spool.deadLettered === 0) continue;
      if (spool.sinceMs <= beforeMs) this.seal(chain);
    }
  }

  sealLargest(): void {
    const spools = [...this.chains.values()].map(({ current }) => current);
    const size = (spool: Spool | null): number => spool?.rows.heldBytes ?? 0;
    const largest = spools.reduce((a, b) => (size(b) > size(a) ? b : a));
    if (largest !== null) this.seal(largest.chain);
  }

  release(spool: Spool): void {
    this.heldBytes -= spool.rows.heldBytes;
    spool.rows.release();
  }

  drop(chain: Chain): void {
    this.chains.delete(placeOf(chain));
    const own = this.sealed.filter((spool) => spool.chain === chain);
    if (chain.current !== null) own.push(chain.current);
    for (const spool of own) {
      this.release(spool);
      const i = this.sealed.indexOf(spool);
      if (i >= 0) this.sealed.splice(i, 1);
    }
  }
}
