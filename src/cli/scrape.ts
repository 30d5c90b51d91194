/** A sample of a Prometheus text: `name{topic="positions"} 12`. */
export type Sample = { name: string; labels: Record<string, string>; value: number };

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const label = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Reads what `/metrics` answers; comments and lines it does not know are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const found = line.startsWith("#") ? null : sampleLine.exec(line);
    if (found === null) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(label)) labels[name] = value;
    samples.push({ name: found[1], labels, value: Number(found[3].replace("Inf", "Infinity")) });
  }
  return samples;
}

/** The samples of one name summed up, by the values of a label or in all. */
export function sumBy(samples: Sample[], name: string, by: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const sample of samples) {
    if (sample.name !== name) continue;
    const key = sample.labels[by] ?? "";
    sums.set(key, (sums.get(key) ?? 0) + sample.value);
  }
  return sums;
}

export function sum(samples: Sample[], name: string): number {
  return [...sumBy(samples, name, "").values()].reduce((all, value) => all + value, 0);
}

/** Cumulative counts of a histogram by upper bound, ascending; all its labels summed up. */
export type Buckets = { bound: number; count: number }[];

export function buckets(samples: Sample[], name: string): Buckets {
  return [...sumBy(samples, `${name}_bucket`, "le")]
    .map(([le, count]) => ({ bound: Number(le.replace("Inf", "Infinity")), count }))
    .toSorted((a, b) => a.bound - b.bound);
}

/**
 * A quantile of what came between two readings of a histogram, as Prometheus reckons it: linear
 * within a bucket. Null when nothing came.
 */
export function quantile(before: Buckets, after: Buckets, share: number): number | null {
  const earlier = new Map(before.map(({ bound, count }) => [bound, count]));
  const counts = after.map(({ bound, count }) => ({
    bound,
    count: count - (earlier.get(bound) ?? 0),
  }));
  const total = counts.at(-1)?.count ?? 0;
  if (total <= 0) return null;
  const wanted = total * share;
  let [low, below] = [0, 0];
  for (const { bound, count } of counts) {
    if (count >= wanted) {
      // Beyond the last bound nothing more is known.
      if (bound === Infinity) return low;
      return low + ((bound - low) * (wanted - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}
