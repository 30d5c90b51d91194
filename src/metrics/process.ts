import { readFileSync, readlinkSync } from "node:fs";
import { constants, monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";
import type { PerformanceEntry } from "node:perf_hooks";
import type { Registry } from "./registry.ts";

/** The monitor's timer; what it records includes this much, which is not delay. */
const resolutionMs = 20;

const gcBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

const gcKinds = new Map<number, string>([
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weak"],
]);

type ProcessCpu = { threadCpuUsage(): { user: number; system: number } };
type GcEntry = PerformanceEntry & { detail: { kind: number } };

/** Facts about the whole process: call it in one thread only. */
export function watchProcess(registry: Registry, version: string): void {
  const node = process.versions.node;
  registry.gauge("milepost_build_info", "Always 1.", { version, node }, "max").value = 1;
  const started = registry.gauge(
    "milepost_start_time_seconds",
    "When the process started, Unix time.",
  );
  started.value = Math.round(performance.timeOrigin) / 1000;
  const resident = registry.gauge("milepost_resident_memory_bytes", "Resident memory.");
  registry.onSnapshot(() => {
    resident.value = process.memoryUsage.rss();
  });
}

/**
 * Event-loop delay, garbage collection, CPU of the thread that calls it, and its waiting for one.
 * The delay's quantiles are over the time since the last snapshot. Returns what stops the watching.
 */
export function watchThread(registry: Registry, thread: string): () => void {
  const stopDelay = watchDelay(registry, thread);
  const stopGc = watchGc(registry, thread);
  watchCpu(registry, thread);
  watchWait(registry, thread);
  return () => {
    stopDelay();
    stopGc();
  };
}

function watchDelay(registry: Registry, thread: string): () => void {
  const monitor = monitorEventLoopDelay({ resolution: resolutionMs });
  monitor.enable();
  const gauges = [50, 99, 100].map((percentile) => {
    const labels = { thread, quantile: String(percentile / 100) };
    const help = "Delay of the thread's event loop since the last scrape.";
    return {
      percentile,
      gauge: registry.gauge("milepost_event_loop_delay_seconds", help, labels, "max"),
    };
  });
  registry.onSnapshot(() => {
    for (const { percentile, gauge } of gauges) {
      const ms = monitor.count === 0 ? 0 : monitor.percentile(percentile) / 1e6 - resolutionMs;
      gauge.value = Math.max(0, ms) / 1000;
    }
    monitor.reset();
  });
  return () => monitor.disable();
}

function watchGc(registry: Registry, thread: string): () => void {
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = gcKinds.get((entry as GcEntry).detail.kind) ?? "other";
      const help = "Garbage collections of the thread.";
      registry
        .histogram("milepost_gc_duration_seconds", help, gcBuckets, { thread, kind })
        .observe(entry.duration / 1000);
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  return () => observer.disconnect();
}

function watchCpu(registry: Registry, thread: string): void {
  // newer than the oldest Node of the 22 line: without it there is no such metric
  const { threadCpuUsage } = process as Partial<ProcessCpu>;
  if (threadCpuUsage === undefined) return;
  const name = "milepost_thread_cpu_seconds_total";
  const user = registry.counter(name, "CPU time of the thread.", { thread, mode: "user" });
  const system = registry.counter(name, "CPU time of the thread.", { thread, mode: "system" });
  registry.onSnapshot(() => {
    const usage = threadCpuUsage();
    user.value = usage.user / 1e6;
    system.value = usage.system / 1e6;
  });
}

function watchWait(registry: Registry, thread: string): void {
  const file = schedstatOfThread();
  if (file === null) return;
  const name = "milepost_thread_wait_seconds_total";
  const counter = registry.counter(name, "Time the thread was ready to run and had no processor.", {
    thread,
  });
  registry.onSnapshot(() => {
    counter.value = waitedNs(file) / 1e9;
  });
}

/** Where Linux counts the times of the thread that calls this; null elsewhere. */
function schedstatOfThread(): string | null {
  try {
    const file = `/proc/${readlinkSync("/proc/thread-self")}/schedstat`;
    return Number.isNaN(waitedNs(file)) ? null : file;
  } catch {
    return null;
  }
}

/** ns that the thread was ready to run and waited for a processor (sched-stats.rst). */
function waitedNs(schedstat: string): number {
  return Number(readFileSync(schedstat, "utf8").split(" ")[1]);
}
