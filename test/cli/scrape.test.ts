import { expect, test } from "vitest";
import { buckets, parseMetrics, quantile, sum, sumBy } from "../../src/cli/scrape.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { toPrometheus } from "../../src/metrics/prometheus.ts";

test("reads what the gateway's own registry writes", () => {
  const registry = new Registry();
  registry.counter("milepost_pings_total", "Pings", { transport: "mqtt" }).value = 3;
  registry.counter("milepost_pings_total", "Pings", { transport: "ws" }).value = 4;
  registry.gauge("milepost_odd", 'A "quoted" help', { name: 'a "b", c} d' }).value = -0.5;
  const histogram = registry.histogram("milepost_ack_seconds", "Acks", [0.001, 0.01], {});
  histogram.observeMany(0.002, 10);
  histogram.observeMany(5, 2);
  const samples = parseMetrics(toPrometheus(registry.snapshot()));
  expect(sum(samples, "milepost_pings_total")).toBe(7);
  expect([...sumBy(samples, "milepost_pings_total", "transport")]).toEqual([
    ["mqtt", 3],
    ["ws", 4],
  ]);
  expect(sum(samples, "milepost_odd")).toBe(-0.5);
  expect(buckets(samples, "milepost_ack_seconds")).toEqual([
    { bound: 0.001, count: 0 },
    { bound: 0.01, count: 10 },
    { bound: Infinity, count: 12 },
  ]);
});

test("a quantile is of what came between two readings", () => {
  const before = [
    { bound: 0.001, count: 1000 },
    { bound: 0.01, count: 1000 },
    { bound: Infinity, count: 1000 },
  ];
  const after = [
    { bound: 0.001, count: 1000 },
    { bound: 0.01, count: 1090 },
    { bound: Infinity, count: 1100 },
  ];
  expect(quantile(before, after, 0.45)).toBeCloseTo(0.0055);
  expect(quantile(before, after, 0.99)).toBe(0.01);
  expect(quantile(after, after, 0.5)).toBeNull();
  expect(quantile([], [], 0.5)).toBeNull();
});

test("passes over what it does not know", () => {
  expect(parseMetrics("# HELP x\n\nnonsense\nx 1 1234567\n")).toEqual([
    { name: "x", labels: {}, value: 1 },
  ]);
});
