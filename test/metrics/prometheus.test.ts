import { expect, test } from "vitest";
import { toPrometheus } from "../../src/metrics/prometheus.ts";
import { Registry } from "../../src/metrics/registry.ts";

test("counters, gauges and histograms in the text format", () => {
  const registry = new Registry();
  registry.histogram("milepost_t_seconds", "t", [0.1, 1], { kind: "a" }).observeMany(0.5, 2);
  registry.counter("milepost_c_total", "c", { transport: "ws" }).value = 2;
  registry.counter("milepost_c_total", "c", { transport: "mqtt" }).value = 1e21;
  registry.gauge("milepost_g", "g").value = -1.5;
  expect(toPrometheus(registry.snapshot())).toBe(
    [
      "# HELP milepost_c_total c",
      "# TYPE milepost_c_total counter",
      'milepost_c_total{transport="ws"} 2',
      'milepost_c_total{transport="mqtt"} 1e+21',
      "# HELP milepost_g g",
      "# TYPE milepost_g gauge",
      "milepost_g -1.5",
      "# HELP milepost_t_seconds t",
      "# TYPE milepost_t_seconds histogram",
      'milepost_t_seconds_bucket{kind="a",le="0.1"} 0',
      'milepost_t_seconds_bucket{kind="a",le="1"} 2',
      'milepost_t_seconds_bucket{kind="a",le="+Inf"} 2',
      'milepost_t_seconds_sum{kind="a"} 1',
      'milepost_t_seconds_count{kind="a"} 2',
      "",
    ].join("\n"),
  );
});

test("help and label values are escaped, special numbers have their names", () => {
  const registry = new Registry();
  registry.gauge("milepost_a", 'back\\slash\n"quote"', { topic: 'x"y\\z\n' }).value = Infinity;
  registry.gauge("milepost_b", "b").value = -Infinity;
  registry.gauge("milepost_c", "c").value = NaN;
  const text = toPrometheus(registry.snapshot());
  expect(text).toContain('# HELP milepost_a back\\\\slash\\n"quote"\n');
  expect(text).toContain('milepost_a{topic="x\\"y\\\\z\\n"} +Inf\n');
  expect(text).toContain("milepost_b -Inf\n");
  expect(text).toContain("milepost_c NaN\n");
});

test("nothing at all is an empty text", () => {
  expect(toPrometheus([])).toBe("");
});
