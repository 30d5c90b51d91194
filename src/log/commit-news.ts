import { copyBytes } from "../lib/copy-bytes.ts";
import { limits } from "../model/limits.ts";
import type { CommitNews, CommittedRow } from "./protocol.ts";
import type { AppendBatch } from "./types.ts";

/**
 * What one client of the log thread hears of commits. Small ones it is told whole: to read sixteen
 * small batches back costs more than to look at the pings in them. A client that is behind is told
 * only that there is something: it reads that in larger pieces, when it can hold it.
 */
export class NewsListener {
  /** Whether with the bytes. */
  readonly #topics = new Map<string, boolean>();
  /** News with bytes that were sent, and those that came, as the client counts them. */
  #told = 0;
  #heard: Int32Array | null = null;

  listen(topic: string, heard: SharedArrayBuffer | null): void {
    this.#topics.set(topic, heard !== null || this.#topics.get(topic) === true);
    if (heard !== null) this.#heard = new Int32Array(heard);
  }

  /** Copies what it takes of the batches; null: nothing it listens to. */
  newsOf(
    batches: readonly AppendBatch[],
    watermarkOf: (topic: string, partition: number) => number,
  ): CommitNews | null {
    if (this.#topics.size === 0) return null;
    const rows = new Map<string, { row: CommittedRow; own: Uint8Array[] }>();
    let length = 0;
    for (const { topic, partition, bytes, error } of batches) {
      const withBytes = this.#topics.get(topic);
      if (error !== null || withBytes === undefined) continue;
      const key = `${topic}/${partition}`;
      let entry = rows.get(key);
      if (entry === undefined) {
        entry = { row: [topic, partition, watermarkOf(topic, partition), 0, 0], own: [] };
        rows.set(key, entry);
      }
      if (!withBytes) continue;
      entry.own.push(bytes);
      length += bytes.byteLength;
    }
    if (rows.size === 0) return null;
    const committed = [...rows.values()].map(({ row }) => row);
    if (length === 0 || length > limits.newsBytesMax || this.#isBehind()) {
      return { committed, bytes: null };
    }
    const bytes = Buffer.allocUnsafeSlow(length);
    let at = 0;
    for (const { row, own } of rows.values()) {
      row[3] = at;
      for (const batch of own) {
        copyBytes(batch, 0, batch.byteLength, bytes, at);
        at += batch.byteLength;
      }
      row[4] = at;
    }
    this.#told = (this.#told + 1) | 0;
    return { committed, bytes };
  }

  #isBehind(): boolean {
    if (this.#heard === null) return true;
    return ((this.#told - Atomics.load(this.#heard, 0)) | 0) >= limits.newsAheadMax;
  }
}
