/**
 * What the members of a consumer group write down, and what must hold of it. A line is one write
 * to a file opened for appending, so the lines of all members stand in their true order:
 *
 *     NAME owns GENERATION 0,3,4      what it has been assigned; generation -1: not yet known
 *     NAME generation GENERATION      of the last such line
 *     NAME record PARTITION OFFSET KEY VALUE
 *     NAME committing PARTITION OFFSET
 *     NAME committed PARTITION OFFSET
 */
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

/** The exit code of a member whose client gave up, and says that it needs to be started anew. */
export const GAVE_UP = 3;

export class LedgerWriter {
  readonly #fd: number;
  readonly #name: string;

  constructor(path: string, name: string) {
    this.#fd = openSync(path, "a");
    this.#name = name;
  }

  line(...words: (string | number)[]): void {
    writeSync(this.#fd, `${[this.#name, ...words].join(" ")}\n`);
  }

  owns(generation: number, partitions: number[]): void {
    this.line("owns", generation, partitions.join());
  }

  close(): void {
    closeSync(this.#fd);
  }
}

type Place = { member: string; partition: number; offset: number };

/** Reads the ledger of a group as it grows, and keeps what is wrong in it. */
export class Ledger {
  readonly #path: string;
  readonly #mayGoBack: boolean;
  #read = 0;
  readonly faults: string[] = [];
  /** Values by partition and offset, as the first to process them told. */
  readonly #processed = new Map<number, Map<number, string>>();
  /** Everything below was processed. */
  readonly #contiguous = new Map<number, number>();
  readonly #owned = new Map<string, Set<number>>();
  readonly #owners = new Map<string, string>();
  /** By member and partition, what it must process next; none: it has just been given it. */
  readonly #next = new Map<string, number>();
  readonly #acknowledged = new Map<number, number>();
  /** By member and partition: acknowledged when it was given the partition. */
  readonly #floors = new Map<string, number>();

  /**
   * `mayGoBack`: a member may commit what it does not own any more (@platformatic/kafka sends a
   * commit that met a rebalance again after it), and another then reads what was read before, or
   * goes on beyond it.
   */
  constructor(path: string, mayGoBack = false) {
    this.#path = path;
    this.#mayGoBack = mayGoBack;
  }

  /** Takes in the lines that are new. */
  update(): this {
    const lines = readFileSync(this.#path, "utf8").split("\n");
    for (const line of lines.slice(this.#read, -1)) this.#line(line);
    this.#read = lines.length - 1;
    return this;
  }

  processed(partition: number): Map<number, string> {
    return this.#processed.get(partition) ?? new Map();
  }

  /** Every offset below was processed by somebody. */
  contiguous(partition: number): number {
    return this.#contiguous.get(partition) ?? 0;
  }

  acknowledged(partition: number): number {
    return this.#acknowledged.get(partition) ?? 0;
  }

  count(): number {
    return [...this.#processed.values()].reduce((sum, { size }) => sum + size, 0);
  }

  owned(member: string): number[] {
    return [...(this.#owned.get(member) ?? [])];
  }

  #line(line: string): void {
    const [member, what, first, second, ...rest] = line.split(" ");
    const place = { member, partition: Number(first), offset: Number(second) };
    switch (what) {
      case "owns":
        return this.#owns(
          member,
          Number(first),
          second === "" ? [] : second.split(",").map(Number),
        );
      case "generation":
        return this.#claim(member, Number(first));
      case "record":
        return this.#record(place, rest[1], line);
      case "committing":
        if (place.offset > this.contiguous(place.partition)) this.#fault("beyond processed", line);
        return;
      case "committed":
        return this.#committed(place, line);
    }
  }

  #owns(member: string, generation: number, partitions: number[]): void {
    this.#owned.set(member, new Set(partitions));
    for (const partition of partitions) {
      const key = `${member}/${partition}`;
      this.#next.delete(key);
      this.#floors.set(key, this.#mayGoBack ? 0 : this.acknowledged(partition));
    }
    if (generation >= 0) this.#claim(member, generation);
  }

  /** In one generation a partition has one owner. */
  #claim(member: string, generation: number): void {
    for (const partition of this.#owned.get(member) ?? []) {
      const key = `${generation}/${partition}`;
      const owner = this.#owners.get(key) ?? member;
      if (owner !== member) {
        this.#fault("two owners", `${owner} and ${member}: ${partition} in ${generation}`);
      }
      this.#owners.set(key, member);
    }
  }

  #record({ member, partition, offset }: Place, value: string, line: string): void {
    const key = `${member}/${partition}`;
    const next = this.#next.get(key);
    if (next === undefined) {
      // after an assignment: from what is committed, or from what it did itself
      if (offset > this.contiguous(partition)) this.#fault("skipped", line);
      if (offset < (this.#floors.get(key) ?? 0)) this.#fault("before what was committed", line);
    } else if (offset !== next) {
      const isBeyond = offset > next && offset <= this.contiguous(partition);
      if (!(this.#mayGoBack && isBeyond)) this.#fault(`out of order, expected ${next}`, line);
    }
    this.#next.set(key, offset + 1);
    const known = this.processed(partition);
    this.#processed.set(partition, known);
    if ((known.get(offset) ?? value) !== value) this.#fault("another value", line);
    known.set(offset, value);
    let contiguous = this.contiguous(partition);
    while (known.has(contiguous)) contiguous++;
    this.#contiguous.set(partition, contiguous);
  }

  #committed({ member, partition, offset }: Place, line: string): void {
    const isLate = !this.#owned.get(member)?.has(partition);
    if (isLate && !this.#mayGoBack) this.#fault("committed by another than its owner", line);
    this.#acknowledged.set(partition, offset);
  }

  #fault(what: string, line: string): void {
    if (this.faults.length < 20) this.faults.push(`${what}: ${line}`);
  }
}
