import {
  durationBuckets,
  type Counter,
  type Gauge,
  type Histogram,
  type Registry,
} from "../metrics/registry.ts";
import type { Handler } from "./handler.ts";

/** Why this side closed a connection. */
const reasons = [
  "size", // a request larger than allowed, or no Kafka at all
  "malformed", // a request that is none of its API's
  "unsupported", // an API or version that is not served
  "stalled", // half a request and no more, or answers that are not read
  "memory", // held the most when all connections together held too much
  "connections", // there are as many as there may be
  "unanswerable", // an error where the protocol has no answer (acks=0)
  "failed", // a fault of this program
] as const;

export type Reason = (typeof reasons)[number];

/** A scanner must not fill the registry. */
const UNSUPPORTED_SERIES_MAX = 64;

/** What the Kafka port counts; labelled by API, never by client, group or topic. */
export class ServerMetrics {
  readonly received: Counter;
  readonly sent: Counter;
  readonly connections: Gauge;
  readonly unread: Gauge;
  readonly unsent: Gauge;
  readonly #closed: Record<Reason, Counter>;
  readonly #registry: Registry;
  readonly #requests = new Map<Handler, Histogram>();
  readonly #unsupported = new Set<string>();

  constructor(registry: Registry) {
    this.#registry = registry;
    this.received = registry.counter("milepost_kafka_received_bytes_total", "Request bytes.");
    this.sent = registry.counter("milepost_kafka_sent_bytes_total", "Response bytes.");
    this.connections = registry.gauge("milepost_kafka_connections", "Open connections.");
    this.unread = registry.gauge(
      "milepost_kafka_request_memory_bytes",
      "Memory of requests that are not answered, whole or in part.",
    );
    this.unsent = registry.gauge(
      "milepost_kafka_response_memory_bytes",
      "Memory of answers that clients have not read.",
    );
    const help = "Connections that this side closed, by reason.";
    const counter = (reason: string): Counter =>
      registry.counter("milepost_kafka_closed_total", help, { reason });
    this.#closed = Object.fromEntries(reasons.map((reason) => [reason, counter(reason)])) as Record<
      Reason,
      Counter
    >;
  }

  closed(reason: Reason): void {
    this.#closed[reason].value++;
  }

  answered(handler: Handler, seconds: number): void {
    let histogram = this.#requests.get(handler);
    if (histogram === undefined) {
      histogram = this.#registry.histogram(
        "milepost_kafka_request_duration_seconds",
        "From the beginning of a request to its answer, waits included.",
        durationBuckets,
        { api: handler.api.name },
      );
      this.#requests.set(handler, histogram);
    }
    histogram.observe(seconds);
  }

  failed({ api }: Handler): void {
    const help = "Requests answered with an error for a fault of this program.";
    this.#registry.counter("milepost_kafka_failed_total", help, { api: api.name }).value++;
  }

  unsupported(key: number, version: number): void {
    const series = `${key} ${version}`;
    const { size } = this.#unsupported;
    if (size < UNSUPPORTED_SERIES_MAX) this.#unsupported.add(series);
    const labels = this.#unsupported.has(series)
      ? { api: String(key), version: String(version) }
      : { api: "other", version: "other" };
    const help = "Requests of an API or version that is not served.";
    this.#registry.counter("milepost_kafka_unsupported_total", help, labels).value++;
  }
}
