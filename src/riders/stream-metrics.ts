/** What is counted of streams to riders, of one transport. */
import type { DriverTable } from "../live/drivers.ts";
import { LEFT, type Frame } from "../live/publication.ts";
import {
  durationBuckets,
  type Counter,
  type Gauge,
  type Histogram,
  type Registry,
} from "../metrics/registry.ts";

const latencyName = "milepost_end_to_end_latency_seconds";
const latencyHelp = "From the fix, or from its receipt, until a position was written to a rider";

export class StreamMetrics {
  readonly clients: Gauge;
  readonly messages: Counter;
  readonly conflated: Counter;
  readonly recovered: Counter;
  readonly unrecovered: Counter;
  readonly #registry: Registry;
  readonly #drivers: DriverTable;
  readonly #transport: string;
  readonly #sinceReceipt: Histogram;
  readonly #sinceFix: Histogram;
  readonly #errors = new Map<string, Counter>();
  /** Frames written in this turn, and to how many. */
  readonly #frames: Frame[] = [];
  readonly #readers: number[] = [];

  constructor(registry: Registry, drivers: DriverTable, transport: "websocket" | "sse") {
    this.#registry = registry;
    this.#drivers = drivers;
    this.#transport = transport;
    const stream = (name: string) => `milepost_stream_${name}`;
    const labels = { transport };
    this.clients = registry.gauge(stream("clients"), "Riders that are connected", labels);
    const told = "Publications written to riders";
    this.messages = registry.counter(stream("messages_total"), told, labels);
    const newer = "Publications left out for a newer one, because the reader was slow";
    this.conflated = registry.counter(stream("conflated_total"), newer, labels);
    const back = "Riders that came back for what they missed; true: nothing was missing";
    const recover = (recovered: string) =>
      registry.counter(stream("recover_total"), back, { recovered });
    this.recovered = recover("true");
    this.unrecovered = recover("false");
    const latency = (kind: string) =>
      registry.histogram(latencyName, latencyHelp, durationBuckets, { kind });
    this.#sinceReceipt = latency("receive");
    this.#sinceFix = latency("fix");
  }

  /** Answers and closes that tell a client it did wrong, by code. */
  error(code: number): void {
    const key = String(code);
    let counter = this.#errors.get(key);
    if (counter === undefined) {
      const help = "Commands of riders refused, and connections closed, by code";
      const labels = { transport: this.#transport, code: key };
      counter = this.#registry.counter("milepost_stream_errors_total", help, labels);
      this.#errors.set(key, counter);
    }
    counter.value++;
  }

  /** A frame was written to one more reader. */
  wrote(frame: Frame): void {
    const last = this.#frames.length - 1;
    if (last >= 0 && this.#frames[last] === frame) {
      this.#readers[last]++;
    } else {
      this.#frames.push(frame);
      this.#readers.push(1);
    }
  }

  /** At the end of a turn: all of its frames were written. */
  settle(nowMs: number): void {
    if (this.#frames.length === 0) return;
    const { ts } = this.#drivers;
    for (const [i, { publications }] of this.#frames.entries()) {
      const readers = this.#readers[i];
      this.messages.value += readers * publications.length;
      for (const { kind, row, received } of publications) {
        if (kind >= LEFT) continue;
        this.#sinceReceipt.observeMany(Math.max(0, nowMs - received) / 1000, readers);
        this.#sinceFix.observeMany(Math.max(0, nowMs - ts[row]) / 1000, readers);
      }
    }
    this.#frames.length = 0;
    this.#readers.length = 0;
  }
}
