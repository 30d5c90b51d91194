import type { Counter, Registry } from "../metrics/registry.ts";
import type { Uplink } from "./uplink.ts";

export function countUplink(registry: Registry, uplink: Uplink): void {
  const up = registry.gauge("milepost_uplink_up", "1 while what waits gets to the cluster");
  const lag = registry.gauge("milepost_uplink_lag_records", "Committed here and not there yet");
  const late = registry.gauge(
    "milepost_uplink_lag_seconds",
    "Age of the newest record that got there, while others wait",
  );
  const counter = (name: string, help: string): Counter =>
    registry.counter(`milepost_uplink_${name}`, help);
  const requests = counter("requests_total", "Produce requests sent");
  const batches = counter("batches_total", "Batches sent");
  const bytes = counter("bytes_total", "Bytes of batches sent");
  const retries = counter("retries_total", "Batches that failed and were sent again");
  const asked = counter("asked_total", "Times the cluster was asked what arrived of a partition");
  registry.onSnapshot(() => {
    up.value = uplink.trouble === "" ? 1 : 0;
    lag.value = uplink.lanes.reduce((sum, lane) => sum + lane.lag, 0);
    const waiting = uplink.lanes.filter((lane) => lane.lag > 0 && lane.ackedTime > 0);
    late.value = Math.max(0, ...waiting.map(({ ackedTime }) => (Date.now() - ackedTime) / 1000));
    requests.value = uplink.sender.counts.requests;
    batches.value = uplink.sender.counts.batches;
    bytes.value = uplink.sender.counts.bytes;
    retries.value = uplink.counts.retries;
    asked.value = uplink.counts.asked;
  });
}
