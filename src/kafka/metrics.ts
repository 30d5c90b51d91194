import {
  durationBuckets,
  type Counter,
  type Gauge,
  type Histogram,
  type Registry,
} from "../metrics/registry.ts";
import type { Handler } from "./handler.ts";

/** What the Kafka port counts; labelled by API, never by client, group or topic. */
export class ServerMetrics {
  readonly received: Counter;
  readonly sent: Counter;
  readonly refused: Counter;
  readonly connections: Gauge;
  readonly #registry: Registry;
  readonly #requests = new Map<string, Histogram>();

  constructor(registry: Registry) {
    this.#registry = registry;
    this.received = registry.counter("milepost_kafka_received_bytes_total", "Request bytes");
    this.sent = registry.counter("milepost_kafka_sent_bytes_total", "Response bytes");
    this.refused = registry.counter(
      "milepost_kafka_refused_total",
      "Connections closed for breaking the protocol",
    );
    this.connections = registry.gauge("milepost_kafka_connections", "Connections");
  }

  answered(handler: Handler | null, seconds: number): void {
    const name = handler?.api.name ?? "unknown";
    let histogram = this.#requests.get(name);
    if (histogram === undefined) {
      histogram = this.#registry.histogram(
        "milepost_kafka_request_duration_seconds",
        "From the request's last byte to its answer, waits included",
        durationBuckets,
        { api: name },
      );
      this.#requests.set(name, histogram);
    }
    histogram.observe(seconds);
  }

  unsupported(key: number, version: number): void {
    const name = "milepost_kafka_unsupported_total";
    // a scanner must not fill the registry
    const known = key >= 0 && key < 100 && version >= 0 && version < 30;
    const labels = known
      ? { api: String(key), version: String(version) }
      : { api: "other", version: "other" };
    this.#registry.counter(name, "Requests of an API or version that is not served", labels)
      .value++;
  }
}
