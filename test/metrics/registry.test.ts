import fc from "fast-check";
import { expect, test } from "vitest";
import { Histogram, mergeSnapshots, Registry } from "../../src/metrics/registry.ts";

test("the same name and labels give the same object, in any order of labels", () => {
  const registry = new Registry();
  const a = registry.counter("milepost_x_total", "x", { transport: "mqtt", dialect: "native" });
  const b = registry.counter("milepost_x_total", "x", { dialect: "native", transport: "mqtt" });
  const c = registry.counter("milepost_x_total", "x", { dialect: "native", transport: "ws" });
  expect(a).toBe(b);
  expect(a).not.toBe(c);
});

test("names are checked when a metric is made", () => {
  const registry = new Registry();
  expect(() => registry.counter("milepost_x", "x")).toThrow("_total");
  expect(() => registry.gauge("x", "x")).toThrow("not a metric name");
  expect(() => registry.gauge("milepost_x", "x", { le: "1" })).toThrow("not a label name");
  registry.gauge("milepost_y_total", "y");
  expect(() => registry.counter("milepost_y_total", "y")).toThrow("is a gauge");
});

test("threads merge: counters and histograms add, gauges as declared", () => {
  const threads = [1, 2, 3].map((n) => {
    const registry = new Registry();
    registry.counter("milepost_c_total", "c").value += n;
    registry.gauge("milepost_sum", "s").value = n;
    registry.gauge("milepost_max", "m", {}, "max").value = n;
    registry.histogram("milepost_h_seconds", "h", [1, 2]).observeMany(n, 10);
    registry.gauge("milepost_own", "o", { thread: String(n) }).value = n;
    return structuredClone(registry.snapshot());
  });
  const merged = mergeSnapshots(threads);
  const named = (name: string) => merged.filter((m) => m.name === name);
  expect(named("milepost_c_total")).toMatchObject([{ value: 6 }]);
  expect(named("milepost_sum")).toMatchObject([{ value: 6 }]);
  expect(named("milepost_max")).toMatchObject([{ value: 3 }]);
  expect(named("milepost_h_seconds")).toMatchObject([{ counts: [10, 10, 10], sum: 60 }]);
  expect(named("milepost_own")).toHaveLength(3);
});

test("a merge leaves the threads' snapshots alone", () => {
  const registry = new Registry();
  registry.histogram("milepost_h_seconds", "h", [1]).observe(0.5);
  const snapshot = registry.snapshot();
  mergeSnapshots([snapshot, snapshot]);
  expect(snapshot).toMatchObject([{ counts: [1, 0], sum: 0.5 }]);
});

test("an observation counts in the first bucket that is not below it", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 10, noNaN: true })), (values) => {
      const buckets = [0.5, 1, 5];
      const histogram = new Histogram(buckets);
      for (const value of values) histogram.observe(value);
      let cumulative = 0;
      buckets.forEach((bound, i) => {
        cumulative += histogram.counts[i];
        expect(cumulative).toBe(values.filter((value) => value <= bound).length);
      });
      expect(cumulative + histogram.counts[3]).toBe(values.length);
    }),
  );
});

test("collectors run before a snapshot, removed metrics are gone from it", () => {
  const registry = new Registry();
  const gauge = registry.gauge("milepost_g", "g", { topic: "a" });
  registry.onSnapshot(() => {
    gauge.value = 7;
  });
  expect(registry.snapshot()).toMatchObject([{ value: 7 }]);
  registry.remove("milepost_g", { topic: "a" });
  expect(registry.snapshot()).toEqual([]);
});
