/**
 * Who waits for new records. A waiter is entered under each of its partitions, so that a commit
 * wakes those whom it concerns and costs the others nothing.
 *
 *     listen(topics) → mark() → look → nothing there → wait(positions, mark)
 *
 * News that came between the look and the wait are not lost: they have a number above the mark.
 */
import type { LogPort } from "../log/client.ts";

/** Waits until the partition's high watermark is above `above`. */
export type Position = { topic: string; partition: number; above: number };
type Entry = { above: number; wake(): void };
type Partition = { waiting: Set<Entry>; highWatermark: number; news: number };
type Topic = { partitions: Map<number, Partition>; stop: () => void };

export class Waits {
  readonly #log: LogPort;
  readonly #topics = new Map<string, Topic>();
  #news = 0;

  constructor(log: LogPort) {
    this.#log = log;
    log.onTopics(() => this.#topicsChanged());
  }

  /** Before the first look: what is committed after it is heard of. */
  listen(topic: string): void {
    if (this.#topics.has(topic) || this.#log.topic(topic) === null) return;
    const partitions: Topic["partitions"] = new Map();
    const stop = this.#log.onCommitted(topic, (p, highWatermark) => {
      const partition = known(partitions, p);
      partition.highWatermark = highWatermark;
      partition.news = ++this.#news;
      for (const { above, wake } of partition.waiting) if (above < highWatermark) wake();
    });
    this.#topics.set(topic, { partitions, stop });
  }

  mark(): number {
    return this.#news;
  }

  /** Resolves at news of one of the positions, after `ms`, or when `closed` aborts. */
  wait(
    positions: readonly Position[],
    mark: number,
    ms: number,
    closed: AbortSignal,
  ): Promise<void> {
    const entered: { partition: Partition; entry: Entry }[] = [];
    for (const { topic, partition: p, above } of positions) {
      const listened = this.#topics.get(topic);
      // it went away since the look
      if (listened === undefined) return Promise.resolve();
      const partition = known(listened.partitions, p);
      if (partition.news > mark && partition.highWatermark > above) return Promise.resolve();
      entered.push({ partition, entry: { above, wake: () => {} } });
    }
    if (closed.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        closed.removeEventListener("abort", wake);
        for (const { partition, entry } of entered) partition.waiting.delete(entry);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      closed.addEventListener("abort", wake);
      for (const { partition, entry } of entered) {
        entry.wake = wake;
        partition.waiting.add(entry);
      }
    });
  }

  /** Who waits on a topic that is gone, or made anew, is to look again. */
  #topicsChanged(): void {
    for (const [name, { partitions, stop }] of this.#topics) {
      if (this.#log.topic(name) !== null) continue;
      this.#topics.delete(name);
      stop();
      for (const { waiting } of partitions.values()) for (const { wake } of waiting) wake();
    }
  }
}

function known(partitions: Topic["partitions"], p: number): Partition {
  let partition = partitions.get(p);
  if (partition === undefined) {
    partition = { waiting: new Set(), highWatermark: 0, news: 0 };
    partitions.set(p, partition);
  }
  return partition;
}
