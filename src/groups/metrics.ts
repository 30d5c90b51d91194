/** What the groups count; lag is read at a scrape, for no more partitions than a limit. */
import type { LogPort } from "../log/client.ts";
import type { Counter, Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import type { GroupState } from "./group-types.ts";
import type { Entry, GroupTable } from "./table.ts";

const STATES: readonly GroupState[] = [
  "Empty",
  "PreparingRebalance",
  "CompletingRebalance",
  "Stable",
  "Dead",
];

const LAG = "milepost_consumer_group_lag";
const help: Record<string, string> = {
  [LAG]: "Records between a group's committed offset and the high watermark",
  [`${LAG}_max`]: "The largest lag among a group's partitions",
  [`${LAG}_sum`]: "Lag of all partitions that a group has committed",
  milepost_consumer_group_consumers: "Members of a group",
};
type Series = { name: string; labels: Record<string, string> };

export class GroupMetrics {
  readonly rebalances: Counter;
  readonly commits: Counter;
  readonly evictions: Counter;
  readonly #registry: Registry;
  readonly #table: GroupTable;
  readonly #log: LogPort;
  /** What stood in the last scrape. */
  #series = new Map<string, Series>();

  constructor(registry: Registry, table: GroupTable, log: LogPort) {
    this.#registry = registry;
    this.#table = table;
    this.#log = log;
    this.rebalances = registry.counter("milepost_group_rebalances_total", "Generations begun");
    this.commits = registry.counter("milepost_group_commits_total", "Offsets committed");
    const evicted = "Members that were not heard of in time";
    this.evictions = registry.counter("milepost_group_evictions_total", evicted);
    const bytes = registry.gauge("milepost_group_bytes", "Memory of members and offsets");
    const members = registry.gauge("milepost_group_members", "Members of all groups");
    const states = STATES.map((state) =>
      registry.gauge("milepost_groups", "Groups by state", { state }),
    );
    registry.onSnapshot(() => {
      bytes.value = table.bytes;
      members.value = 0;
      for (const gauge of states) gauge.value = 0;
      for (const { group } of table) {
        members.value += group.members.size;
        states[STATES.indexOf(group.state)].value++;
      }
    });
  }

  /** Before a snapshot: lag as it is now. */
  async measure(): Promise<void> {
    const ends = new Map<string, number[]>();
    for (const { topic, partition, highWatermark } of (await this.#log.call("metrics"))
      .partitions) {
      let partitions = ends.get(topic);
      if (partitions === undefined) ends.set(topic, (partitions = []));
      partitions[partition] = highWatermark;
    }
    const before = this.#series;
    this.#series = new Map();
    let left = limits.groupLagSeriesMax;
    let omitted = 0;
    for (const entry of this.#table) {
      left -= entry.offsets.size + 3;
      if (left >= 0) this.#measure(entry, ends);
      else omitted++;
    }
    for (const [key, { name, labels }] of before) {
      if (!this.#series.has(key)) this.#registry.remove(name, labels);
    }
    const text = "Groups whose lag is left out, for there are too many partitions";
    this.#registry.gauge("milepost_consumer_group_lag_omitted", text).value = omitted;
  }

  #measure({ group, offsets }: Entry, ends: Map<string, number[]>): void {
    let max = 0;
    let sum = 0;
    for (const { topic, partition, offset } of offsets) {
      const end = ends.get(topic)?.[partition];
      if (end === undefined) continue;
      const lag = Math.max(end - offset.offset, 0);
      max = Math.max(max, lag);
      sum += lag;
      this.#set(LAG, { group: group.id, topic, partition: String(partition) }, lag);
    }
    this.#set(`${LAG}_max`, { group: group.id }, max);
    this.#set(`${LAG}_sum`, { group: group.id }, sum);
    this.#set("milepost_consumer_group_consumers", { group: group.id }, group.members.size);
  }

  #set(name: string, labels: Record<string, string>, value: number): void {
    this.#registry.gauge(name, help[name], labels).value = value;
    this.#series.set(`${name} ${Object.values(labels).join(" ")}`, { name, labels });
  }
}
