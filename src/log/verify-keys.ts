/** Checks a sealed slice's index of keys: its checksums, and that it names batches there are. */
import { u32 } from "../batch/header.ts";
import { keyIndexBases, keyIndexChunks } from "./key-index.ts";
import type { PartitionIndex } from "./slice-index.ts";

export class KeyIndexCheck {
  readonly #index: readonly PartitionIndex[];
  readonly #damaged: (partition: number, what: string) => void;
  readonly #heads = new Map<number, Uint8Array>();
  /** Chunks that were not met yet. */
  readonly #left = new Map<number, number>();

  /** `index`: the batches of the slice, by partition. */
  constructor(
    index: readonly PartitionIndex[],
    damaged: (partition: number, what: string) => void,
  ) {
    this.#index = index;
    this.#damaged = damaged;
  }

  /** Heads and chunks, in order of their keys. */
  value(key: Uint8Array, value: Uint8Array): void {
    const partition = u32(key, 1);
    if (u32(key, 5) > 0) return this.#chunk(partition, value);
    const chunks = keyIndexChunks(value);
    if (chunks === null) return this.#damaged(partition, "its index of keys fails its checksum");
    this.#heads.set(partition, value);
    this.#left.set(partition, chunks);
  }

  end(): void {
    for (const [partition, left] of this.#left) {
      if (left > 0) this.#damaged(partition, "its index of keys is not complete");
    }
  }

  #chunk(partition: number, value: Uint8Array): void {
    const head = this.#heads.get(partition);
    const left = this.#left.get(partition) ?? 0;
    // of a build that did not come to its end
    if (head === undefined || left === 0) return;
    this.#left.set(partition, left - 1);
    const bases = keyIndexBases(head, value);
    if (bases === null) return this.#damaged(partition, "its index of keys fails its checksum");
    const rows = this.#index[partition];
    const fits = bases.every((base) => {
      const row = rows?.find(base);
      return row < rows?.count && rows.base[row] === base;
    });
    if (!fits) this.#damaged(partition, "its index of keys does not fit its batches");
  }
}
