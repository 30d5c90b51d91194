/** The committed offsets of one group. */
import type { Offset } from "./records.ts";

/** An offset's own object and its place in two maps, beside its metadata. */
const OFFSET_BYTES = 160;

export type Place = { topic: string; partition: number };
export type NewOffset = Place & { value: Offset };

export class Offsets {
  readonly #topics = new Map<string, Map<number, Offset>>();
  size = 0;
  bytes = 0;

  get(topic: string, partition: number): Offset | undefined {
    return this.#topics.get(topic)?.get(partition);
  }

  set(topic: string, partition: number, offset: Offset): void {
    let partitions = this.#topics.get(topic);
    if (partitions === undefined) this.#topics.set(topic, (partitions = new Map()));
    this.#count(partitions.get(partition), -1);
    partitions.set(partition, offset);
    this.#count(offset, 1);
  }

  delete(topic: string, partition: number): void {
    const partitions = this.#topics.get(topic);
    const offset = partitions?.get(partition);
    if (partitions === undefined || offset === undefined) return;
    partitions.delete(partition);
    if (partitions.size === 0) this.#topics.delete(topic);
    this.#count(offset, -1);
  }

  topics(): IterableIterator<string> {
    return this.#topics.keys();
  }

  partitions(topic: string): ReadonlyMap<number, Offset> {
    return this.#topics.get(topic) ?? new Map<number, Offset>();
  }

  *[Symbol.iterator](): Generator<Place & { offset: Offset }> {
    for (const [topic, partitions] of this.#topics) {
      for (const [partition, offset] of partitions) yield { topic, partition, offset };
    }
  }

  #count(offset: Offset | undefined, by: 1 | -1): void {
    if (offset === undefined) return;
    this.size += by;
    this.bytes += by * offsetBytes(offset.metadata);
  }
}

export const offsetBytes = (metadata: string): number => OFFSET_BYTES + metadata.length;

/** When offsets go. Kafka's rules (KIP-211), all times in ms. */
export type Retention = {
  /** Since when the group has no members; null: it has some, or never had any. */
  emptySinceMs: number | null;
  /** Topics that members subscribe to are kept; null: all are. */
  subscribed: ReadonlySet<string> | null;
  retentionMs: number;
};

export function expired(offsets: Offsets, nowMs: number, by: Retention): Place[] {
  const { emptySinceMs, subscribed, retentionMs } = by;
  if (subscribed === null) return [];
  const gone: Place[] = [];
  for (const { topic, partition, offset } of offsets) {
    if (subscribed.has(topic)) continue;
    const since = emptySinceMs ?? offset.committedMs;
    const expiresMs = offset.expiresMs ?? since + retentionMs;
    if (nowMs >= expiresMs) gone.push({ topic, partition });
  }
  return gone;
}
