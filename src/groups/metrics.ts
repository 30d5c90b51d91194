/** What the groups count; lag is read at a scrape, for no more partitions than a limit. */
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import type { Counter, Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import type { GroupState } from "./group-types.ts";
import { secondsSince, timeFrom } from "./lag.ts";
import { type Behind, LagTimes } from "./lag-times.ts";
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
  [`${LAG}_seconds`]: "Age of the oldest record that a group has not committed",
  milepost_consumer_group_consumers: "Members of a group",
};
type Series = { name: string; labels: Record<string, string> };
type Bounds = { start: number; highWatermark: number };
/** Topic → partition. */
type AllBounds = ReadonlyMap<string, readonly Bounds[]>;

/** Of a group, beside those of its partitions. */
const SERIES_OF_GROUP = 4;

export class GroupMetrics {
  readonly rebalances: Counter;
  readonly commits: Counter;
  readonly evictions: Counter;
  readonly #registry: Registry;
  readonly #table: GroupTable;
  readonly #log: LogPort;
  readonly #now: () => number;
  readonly #times: LagTimes;
  /** What stood in the last scrape. */
  #series = new Map<string, Series>();

  constructor(
    registry: Registry,
    table: GroupTable,
    log: LogPort,
    reader: LogReader,
    now: () => number,
  ) {
    this.#registry = registry;
    this.#table = table;
    this.#log = log;
    this.#now = now;
    this.#times = new LagTimes(({ topic, partition, offset, end }) => {
      return timeFrom(reader, topic, partition, offset, end);
    });
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
    const bounds = new Map<string, Bounds[]>();
    for (const { topic, partition, ...own } of (await this.#log.call("metrics")).partitions) {
      let partitions = bounds.get(topic);
      if (partitions === undefined) bounds.set(topic, (partitions = []));
      partitions[partition] = own;
    }
    await this.#times.read(this.#shown().entries.flatMap((entry) => behind(entry, bounds)));
    const before = this.#series;
    this.#series = new Map();
    const { entries, omitted } = this.#shown();
    for (const entry of entries) this.#measure(entry, bounds);
    for (const [key, { name, labels }] of before) {
      if (!this.#series.has(key)) this.#registry.remove(name, labels);
    }
    const text = "Groups whose lag is left out, for there are too many partitions";
    this.#registry.gauge("milepost_consumer_group_lag_omitted", text).value = omitted;
  }

  /** Groups whose lag is given; what others would take is too much for a scrape. */
  #shown(): { entries: Entry[]; omitted: number } {
    let left = limits.groupLagSeriesMax;
    const entries = Array.from(this.#table).filter(({ offsets }) => {
      left -= offsets.size + SERIES_OF_GROUP;
      return left >= 0;
    });
    return { entries, omitted: this.#table.size - entries.length };
  }

  #measure(entry: Entry, bounds: AllBounds): void {
    const { group, offsets } = entry;
    let max = 0;
    let sum = 0;
    for (const { topic, partition, offset } of offsets) {
      const end = bounds.get(topic)?.[partition]?.highWatermark;
      if (end === undefined) continue;
      const lag = Math.max(end - offset.offset, 0);
      max = Math.max(max, lag);
      sum += lag;
      this.#set(LAG, { group: group.id, topic, partition: String(partition) }, lag);
    }
    this.#set(`${LAG}_max`, { group: group.id }, max);
    this.#set(`${LAG}_sum`, { group: group.id }, sum);
    const open = behind(entry, bounds);
    const times = open.flatMap((place) => this.#times.of(place) ?? []);
    const isKnown = open.length === 0 || times.length > 0;
    const seconds = secondsSince(Math.min(...times), this.#now());
    if (isKnown) this.#set(`${LAG}_seconds`, { group: group.id }, seconds);
    this.#set("milepost_consumer_group_consumers", { group: group.id }, group.members.size);
  }

  #set(name: string, labels: Record<string, string>, value: number): void {
    this.#registry.gauge(name, help[name], labels).value = value;
    this.#series.set(`${name} ${Object.values(labels).join(" ")}`, { name, labels });
  }
}

/** What a group has yet to read. */
function behind({ group, offsets }: Entry, bounds: AllBounds): Behind[] {
  return Array.from(offsets).flatMap(({ topic, partition, offset: { offset } }) => {
    const { start, highWatermark: end } = bounds.get(topic)?.[partition] ?? NOWHERE;
    const oldest = Math.max(start, offset);
    return oldest < end ? [{ group: group.id, topic, partition, offset: oldest, end }] : [];
  });
}
const NOWHERE: Bounds = { start: 0, highWatermark: 0 };
