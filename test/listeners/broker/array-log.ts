import type { LogClient, LogRecord, NewRecord, PartitionState } from "../../../src/log/types.ts";
import { partitionOf } from "../../../src/partitions/murmur2.ts";
export class ArrayLog implements LogClient {
  readonly parts = new Map<string, LogRecord[][]>();
  readonly #committed: [string, (p: number, hw: number) => void][] = [];
  failing = false;
  constructor(topics: Record<string, number>) {
    for (const [t, n] of Object.entries(topics)) {
      this.parts.set(
        t,
        Array.from({ length: n }, () => []),
      );
    }
  }
  async append(topic: string, records: NewRecord[]) {
    await new Promise((r) => setTimeout(r, 1));
    if (this.failing) throw new Error("disk_full");
    const parts = this.parts.get(topic)!;
    const out = records.map((r) => {
      const partition =
        r.partition ?? (r.key ? partitionOf(r.key, 0, r.key.length, parts.length) : 0);
      const offset = parts[partition].length;
      parts[partition].push({
        partition,
        offset,
        timestamp: r.timestamp ?? Date.now(),
        key: r.key && Buffer.from(r.key),
        value: r.value && Buffer.from(r.value),
        headers: r.headers ?? [],
      });
      return { partition, offset };
    });
    for (const p of new Set(out.map((o) => o.partition)))
      for (const [t, l] of this.#committed) if (t === topic) l(p, parts[p].length);
    return out;
  }
  async read(topic: string, partition: number, offset: number) {
    const all = this.parts.get(topic)![partition];
    const records = all.slice(offset, offset + 500);
    return {
      records,
      next: offset + records.length,
      highWatermark: all.length,
      start: 0,
    };
  }
  topics() {
    return [...this.parts].map(([name, p]) => ({
      name,
      id: name,
      partitions: p.length,
      config: {},
    }));
  }
  async describe(topic: string): Promise<PartitionState[]> {
    return this.parts.get(topic)!.map((p, partition) => ({
      partition,
      start: 0,
      end: p.length,
      highWatermark: p.length,
      leaderEpoch: 0,
      bytes: 0,
    }));
  }
  onTopics() {}
  onCommitted(topic: string, l: (p: number, hw: number) => void) {
    this.#committed.push([topic, l]);
    return () => {};
  }
}
