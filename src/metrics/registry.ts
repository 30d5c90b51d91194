import assert from "node:assert/strict";

export type Labels = Record<string, string>;

/** How the threads' values of one gauge become the process's value. */
export type GaugeMerge = "sum" | "max";

/** On the hot path: `counter.value += n`. */
export type Counter = { value: number };
export type Gauge = { value: number };

/** One metric with its labels at one moment: plain data that may be posted between threads. */
export type MetricSnapshot = {
  name: string;
  help: string;
  labels: Labels;
} & (
  | { type: "counter"; value: number }
  | { type: "gauge"; value: number; merge: GaugeMerge }
  | {
      type: "histogram";
      /** Upper bounds, ascending, in seconds or bytes; `+Inf` is not listed. */
      buckets: number[];
      /** Observations per bucket, not cumulative; one more than `buckets`, for `+Inf`. */
      counts: number[];
      sum: number;
    }
);

export class Histogram {
  readonly buckets: readonly number[];
  readonly counts: number[];
  sum = 0;

  constructor(buckets: readonly number[]) {
    this.buckets = buckets;
    this.counts = Array.from({ length: buckets.length + 1 }, () => 0);
  }

  observe(value: number): void {
    this.observeMany(value, 1);
  }

  /** The same value `n` times: one duration shared by all messages of a batch. */
  observeMany(value: number, n: number): void {
    const { buckets } = this;
    let i = 0;
    while (i < buckets.length && value > buckets[i]) i++;
    this.counts[i] += n;
    this.sum += value * n;
  }
}

/** From 0.1 ms (an append on a fast disk) to the 30 s after which a send is refused. */
export const durationBuckets: number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
  30,
];

type Entry = { name: string; help: string; labels: Labels; key: string } & (
  | { type: "counter"; metric: Counter }
  | { type: "gauge"; metric: Gauge; merge: GaugeMerge }
  | { type: "histogram"; metric: Histogram }
);

/**
 * The metrics of one thread. Asking for the same name and labels again gives the same object, so
 * callers keep it and write to its number fields; nothing here runs per message.
 */
export class Registry {
  #entries = new Map<string, Entry>();
  #collectors: (() => void)[] = [];

  counter(name: string, help: string, labels: Labels = {}): Counter {
    assert(name.endsWith("_total"), `counter ${name} must end in _total`);
    const entry = this.#entry(name, help, labels, (base) => {
      return { ...base, type: "counter", metric: { value: 0 } };
    });
    assert(entry.type === "counter", `${name} is a ${entry.type}`);
    return entry.metric;
  }

  gauge(name: string, help: string, labels: Labels = {}, merge: GaugeMerge = "sum"): Gauge {
    const entry = this.#entry(name, help, labels, (base) => {
      return { ...base, type: "gauge", metric: { value: 0 }, merge };
    });
    assert(entry.type === "gauge", `${name} is a ${entry.type}`);
    return entry.metric;
  }

  histogram(name: string, help: string, buckets: number[], labels: Labels = {}): Histogram {
    const entry = this.#entry(name, help, labels, (base) => {
      return { ...base, type: "histogram", metric: new Histogram([...buckets]) };
    });
    assert(entry.type === "histogram", `${name} is a ${entry.type}`);
    return entry.metric;
  }

  /** Drops a metric that stands for something gone, as the partitions of a deleted topic. */
  remove(name: string, labels: Labels = {}): void {
    this.#entries.delete(metricKey(name, labels));
  }

  /** `collect` runs at the start of each snapshot: for values that are read, not counted. */
  onSnapshot(collect: () => void): void {
    this.#collectors.push(collect);
  }

  snapshot(): MetricSnapshot[] {
    for (const collect of this.#collectors) collect();
    return Array.from(this.#entries.values(), toSnapshot);
  }

  #entry(
    name: string,
    help: string,
    labels: Labels,
    make: (base: { name: string; help: string; labels: Labels; key: string }) => Entry,
  ): Entry {
    const key = metricKey(name, labels);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      assert(/^milepost_[a-z0-9_]+$/.test(name), `not a metric name: ${name}`);
      for (const label of Object.keys(labels)) {
        assert(/^[a-z][a-z0-9_]*$/.test(label) && label !== "le", `not a label name: ${label}`);
      }
      entry = make({ name, help, labels: { ...labels }, key });
      this.#entries.set(key, entry);
    }
    return entry;
  }
}

/** Sums counters and histograms of all threads; gauges as each was declared. */
export function mergeSnapshots(all: MetricSnapshot[][]): MetricSnapshot[] {
  const merged = new Map<string, MetricSnapshot>();
  for (const snapshots of all) {
    for (const next of snapshots) {
      const key = metricKey(next.name, next.labels);
      const sum = merged.get(key);
      if (sum === undefined) merged.set(key, structuredClone(next));
      else add(sum, next);
    }
  }
  return [...merged.values()];
}

function add(sum: MetricSnapshot, next: MetricSnapshot): void {
  if (sum.type === "counter" && next.type === "counter") {
    sum.value += next.value;
  } else if (sum.type === "gauge" && next.type === "gauge") {
    sum.value = sum.merge === "max" ? Math.max(sum.value, next.value) : sum.value + next.value;
  } else if (sum.type === "histogram" && next.type === "histogram") {
    assert.deepEqual(sum.buckets, next.buckets, `${sum.name}: threads differ in buckets`);
    for (let i = 0; i < sum.counts.length; i++) sum.counts[i] += next.counts[i];
    sum.sum += next.sum;
  } else {
    assert.fail(`${sum.name} is a ${sum.type} in one thread and a ${next.type} in another`);
  }
}

function toSnapshot(entry: Entry): MetricSnapshot {
  const { name, help, labels } = entry;
  if (entry.type === "counter") {
    return { name, help, labels, type: "counter", value: entry.metric.value };
  }
  if (entry.type === "gauge") {
    const { metric, merge } = entry;
    return { name, help, labels, type: "gauge", value: metric.value, merge };
  }
  const { buckets, counts, sum } = entry.metric;
  return { name, help, labels, type: "histogram", buckets: [...buckets], counts: [...counts], sum };
}

function metricKey(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([name, pairs]);
}
