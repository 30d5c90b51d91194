import type { TopicInfo } from "./types.ts";

/**
 * Numbers that name topics in slabs. A topic made anew under an old name gets a new one: old slabs
 * never reach it.
 */
export class TopicIndexes {
  readonly #names: string[] = [];
  readonly #indexOf = new Map<string, number>();

  update(topics: TopicInfo[]): void {
    for (const { name, id } of topics) {
      if (this.#indexOf.has(id)) continue;
      this.#indexOf.set(id, this.#names.length);
      this.#names.push(name);
    }
    const live = new Set(topics.map((t) => t.id));
    for (const [id, index] of this.#indexOf) if (!live.has(id)) this.#names[index] = "";
  }

  /** Empty: there is no such topic any more. */
  nameOf(index: number): string {
    return this.#names[index];
  }

  indexOf(id: string): number {
    return this.#indexOf.get(id) as number;
  }
}
