/**
 * How far behind in time groups are, for the metrics: the time of the oldest record that is not
 * committed. It is read once and kept until the group goes on, and a scrape reads a bounded number
 * of them, those first that were read longest ago; the rest stand as they were read last.
 */
import { limits } from "../model/limits.ts";

export type Behind = {
  group: string;
  topic: string;
  partition: number;
  /** The oldest record that is not committed, and the end of the log. */
  offset: number;
  end: number;
};

/** ms; null: it cannot be told. */
export type TimeOf = (behind: Behind) => Promise<number | null>;

type Known = { offset: number; timestamp: number | null };

/** Read together; they may lie on a cold disk. */
const AT_ONCE = 16;

export class LagTimes {
  readonly #timeOf: TimeOf;
  /** By group and partition; what was read longest ago stands first. */
  readonly #known = new Map<string, Known>();

  constructor(timeOf: TimeOf) {
    this.#timeOf = timeOf;
  }

  /** Of partitions that are behind; all others are forgotten. */
  async read(all: readonly Behind[]): Promise<void> {
    const due = new Map<string, Behind>();
    const order: string[] = [];
    for (const behind of all) due.set(keyOf(behind), behind);
    for (const [key, { offset }] of this.#known) {
      const behind = due.get(key);
      if (behind === undefined) this.#known.delete(key);
      else if (behind.offset === offset) due.delete(key);
      else order.push(key);
    }
    const unread = [...due.keys()].filter((key) => !this.#known.has(key));
    const keys = [...unread, ...order].slice(0, limits.groupLagReadsMax);
    for (let i = 0; i < keys.length; i += AT_ONCE) {
      await Promise.all(keys.slice(i, i + AT_ONCE).map((key) => this.#read(key, due)));
    }
  }

  /** ms; null: not known. */
  of(behind: Pick<Behind, "group" | "topic" | "partition">): number | null {
    return this.#known.get(keyOf(behind))?.timestamp ?? null;
  }

  async #read(key: string, due: ReadonlyMap<string, Behind>): Promise<void> {
    const behind = due.get(key) as Behind;
    const timestamp = await this.#timeOf(behind);
    this.#known.delete(key);
    this.#known.set(key, { offset: behind.offset, timestamp });
  }
}

/** A topic's name has no slash. */
const keyOf = ({ group, topic, partition }: Pick<Behind, "group" | "topic" | "partition">) =>
  `${topic}/${partition}/${group}`;
