/** What the intake counts, kept at hand: nothing here is looked up per ping. */
import {
  durationBuckets,
  type Counter,
  type Histogram,
  type Registry,
} from "../metrics/registry.ts";
import type { ErrorCode } from "../model/errors.ts";
import type { Dialect, Transport } from "./intake-types.ts";

/** `n`: acknowledged since the histogram was last fed. */
export type Acks = { readonly histogram: Histogram; n: number };
type Sizes = { messages: Counter; bytes: Counter };

const TRANSPORTS: readonly Transport[] = ["mqtt", "ws", "http"];

export class IntakeMetrics {
  readonly #registry: Registry;
  readonly #sizes: Record<Transport, Partial<Record<Dialect, Sizes>>> = {
    mqtt: {},
    ws: {},
    http: {},
  };
  readonly acks: Readonly<Record<Transport, Acks>>;

  constructor(registry: Registry) {
    this.#registry = registry;
    const acks = (transport: Transport): Acks => {
      const help = "From the first byte of a batch to its acknowledgement";
      const name = "milepost_ack_duration_seconds";
      return { histogram: registry.histogram(name, help, durationBuckets, { transport }), n: 0 };
    };
    this.acks = { mqtt: acks("mqtt"), ws: acks("ws"), http: acks("http") };
  }

  count(transport: Transport, dialect: Dialect, bytes: number): void {
    const sizes = this.#sizes[transport][dialect] ?? this.#newSizes(transport, dialect);
    sizes.messages.value++;
    sizes.bytes.value += bytes;
  }

  #newSizes(transport: Transport, dialect: Dialect): Sizes {
    const labels = { transport, dialect };
    return (this.#sizes[transport][dialect] = {
      messages: this.#registry.counter("milepost_ingest_messages_total", "Messages", labels),
      bytes: this.#registry.counter("milepost_ingest_bytes_total", "Their payloads", labels),
    });
  }

  rejected(transport: Transport, reason: ErrorCode): void {
    const help = "Pings rejected, by reason";
    this.#registry.counter("milepost_ingest_rejected_total", help, { transport, reason }).value++;
  }

  shed(transport: Transport, reason: string): void {
    const help = "QoS 0 messages dropped under pressure";
    this.#registry.counter("milepost_ingest_shed_total", help, { transport, reason }).value++;
  }

  /** After every answer of the log: how long the acknowledged had waited. */
  observe(seconds: number): void {
    for (const transport of TRANSPORTS) {
      const acks = this.acks[transport];
      if (acks.n > 0) acks.histogram.observeMany(seconds, acks.n);
      acks.n = 0;
    }
  }
}
