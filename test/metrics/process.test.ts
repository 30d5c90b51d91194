import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { watchProcess, watchThread } from "../../src/metrics/process.ts";
import { toPrometheus } from "../../src/metrics/prometheus.ts";
import { Registry } from "../../src/metrics/registry.ts";

test("a thread's loop, CPU and the process's facts are in the metrics", async () => {
  const registry = new Registry();
  watchProcess(registry, "1.2.3");
  const stop = watchThread(registry, "main");
  await sleep(100);
  const before = registry.snapshot();
  const names = new Set(before.map((metric) => metric.name));
  expect(names).toContain("milepost_event_loop_delay_seconds");
  expect(names).toContain("milepost_thread_cpu_seconds_total");
  // Linux has it
  expect(names.has("milepost_thread_wait_seconds_total")).toBe(process.platform === "linux");
  const resident = before.find((metric) => metric.name === "milepost_resident_memory_bytes");
  expect(resident).toMatchObject({ type: "gauge" });
  expect(toPrometheus(before)).toContain(
    `milepost_build_info{version="1.2.3",node="${process.versions.node}"} 1\n`,
  );
  stop();
});

test("a blocked loop shows as delay", async () => {
  const registry = new Registry();
  const stop = watchThread(registry, "main");
  await sleep(50);
  const until = performance.now() + 200;
  while (performance.now() < until);
  await sleep(50);
  const worst = registry
    .snapshot()
    .find((m) => m.name === "milepost_event_loop_delay_seconds" && m.labels.quantile === "1");
  expect(worst?.type === "gauge" && worst.value).toBeGreaterThan(0.1);
  stop();
});
