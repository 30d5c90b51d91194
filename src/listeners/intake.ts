/**
 * Where every way in ends: a body becomes pings, a ping becomes a record in each topic that takes
 * it, a bad one becomes a record in `rejects`; whoever sent it waits until all of them are in the
 * log at their level. Nothing here outlives the loop turn but what the log holds.
 */
import type { Header } from "../batch/builder.ts";
import { Frame } from "../codec/frame.ts";
import { DriverMemory } from "../codec/driver-memory.ts";
import { owntracksToPing } from "../codec/owntracks.ts";
import { PingReader } from "../codec/ping.ts";
import type { LogProducer } from "../log/producer.ts";
import type { Refusal, Waiter } from "../log/submission.ts";
import type { Registry } from "../metrics/registry.ts";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { CellCache } from "../partitions/cell.ts";
import { murmur2, partitionOf, partitionOfHash } from "../partitions/murmur2.ts";
import type { Done, Intake, Source, Transport } from "./intake-types.ts";
import { IntakeMetrics } from "./intake-metrics.ts";
import type { Topic } from "./mqtt/topics.ts";
import { Parts } from "./parts.ts";
import { NO_ROUTES, takesPings, type Route, type Routes } from "./routes.ts";

/** What a record may cost beside its payload: a filled-in id, flags, the headers of a reject. */
const EXTRA_BYTES = 640;

const HEADER_REASON = Buffer.from("reason");
const HEADER_TRANSPORT = Buffer.from("transport");
const HEADER_DRIVER = Buffer.from("driver");

type MemoryHolder = { memory: DriverMemory | null; close?(reason: string): void };

export class WorkerIntake implements Intake {
  readonly metrics: IntakeMetrics;
  readonly #producer: LogProducer;
  readonly #reader = new PingReader();
  readonly #frame = new Frame();
  /** By resolution. */
  readonly #cells: CellCache[] = [];
  readonly #resume: (() => void)[] = [];
  readonly #placesKnown: boolean;
  #routes: Routes = NO_ROUTES;
  /** Set from outside: what new work is refused with. */
  unwritable: "disk_full" | "uplink" | null = null;
  draining = false;

  /** `placesKnown`: false where readers look elsewhere, in a cluster that is told later. */
  constructor(producer: LogProducer, registry: Registry, placesKnown = true) {
    this.#producer = producer;
    this.#placesKnown = placesKnown;
    this.metrics = new IntakeMetrics(registry);
  }

  set routes(routes: Routes) {
    this.#routes = routes;
  }

  get refusing(): ErrorCode | null {
    if (this.draining) return "draining";
    if (this.unwritable !== null) return this.unwritable;
    // an operator has deleted the topic, perhaps to make it anew
    if (!takesPings(this.#routes)) return "timeout";
    if (this.#producer.stuck) return "timeout";
    if (this.#producer.full) return "backlog";
    return null;
  }
  get paused(): boolean {
    return this.#producer.paused;
  }
  onResume(listener: () => void): void {
    this.#resume.push(listener);
  }
  resumed(): void {
    for (const listener of this.#resume) listener();
  }

  // --- MQTT: one payload, on the way its topic says; `waiter` null at QoS 0 ---

  fromTopic(
    topic: Topic,
    b: Uint8Array,
    start: number,
    end: number,
    holder: MemoryHolder,
    waiter: Waiter | null,
    tag: number,
  ): void {
    if (topic.way === "position") {
      this.metrics.count("mqtt", "native", end - start);
      // a single ping; an array and what is neither goes the slower way
      if (b[start] === 0x7b) {
        holder.memory ??= new DriverMemory();
        this.#producer.relieve();
        this.#take(end - start, 1);
        const first = this.#producer.nextRef;
        const now = Date.now();
        if (!this.#reader.read(b, start, end, now, topic.identity, holder.memory)) {
          this.#reject(b, start, end, this.#reader.reason as ErrorCode, "mqtt", topic.identity);
        } else this.#store(now);
        if (waiter !== null) this.#producer.wait(waiter, tag, first);
        return;
      }
    }
    this.#slowTopic(topic, b.subarray(start, end), holder, waiter, tag);
  }

  #slowTopic(
    topic: Topic,
    body: Uint8Array,
    holder: MemoryHolder,
    waiter: Waiter | null,
    tag: number,
  ): void {
    holder.memory ??= new DriverMemory();
    const source: Source = {
      transport: "mqtt",
      dialect: topic.way === "owntracks" ? "owntracks" : "native",
      driver: topic.driver,
      identity: topic.identity,
      memory: holder.memory,
    };
    const done: Done = (_, refusal) => {
      if (waiter !== null) waiter.settle(tag, null, 0, refusal as Refusal | null);
      else if (refusal === "too_large") holder.close?.(refusal);
    };
    switch (topic.way) {
      case "position":
        return this.#pings(body, source, false, done);
      case "owntracks":
        return this.owntracks(body, source, done);
      case "event":
        return this.event(body, source, done);
      case "command":
        this.metrics.count("mqtt", "native", body.length);
        return this.#record(this.#routes.commands, body, source, done);
      default:
        this.metrics.count("mqtt", "native", body.length);
        return this.reject(body, source, "unknown_topic", done);
    }
  }

  // --- bodies ---

  frame(bytes: Uint8Array, source: Source, ndjson: boolean, done: Done): void {
    this.metrics.count(source.transport, source.dialect, bytes.length);
    this.#pings(bytes, source, ndjson, done);
  }

  #pings(bytes: Uint8Array, source: Source, ndjson: boolean, done: Done): void {
    const now = Date.now();
    const frame = this.#frame;
    this.#producer.relieve();
    const parts = this.#parts(done, source);
    const fault = frame.split(bytes, 0, bytes.length, ndjson);
    if (fault !== null) return done(null, fault);
    for (let i = 0; i < frame.count; i++) {
      const start = frame.starts[i];
      const end = frame.ends[i];
      if (!this.#fits(end - start)) parts.cut();
      this.#take(end - start, 1);
      parts.begin(this.#producer, this.#routes);
      if (this.#reader.read(bytes, start, end, now, source.identity, source.memory)) {
        this.#store(now);
        parts.accepted();
      } else {
        const reason = this.#reader.reason as ErrorCode;
        this.#reject(bytes, start, end, reason, source.transport, source.identity);
        parts.rejected(reason);
      }
    }
    // an empty array is answered in its turn, too: it waits behind what is open
    if (frame.count === 0) {
      this.#take(0, 1);
      parts.begin(this.#producer, this.#routes);
    }
    parts.end();
  }

  object(ping: Record<string, unknown>, source: Source, done: Done): void {
    this.metrics.count(source.transport, source.dialect, 0);
    const parts = this.#parts(done, source);
    this.#take(limits.pingBytesMax, 1);
    parts.begin(this.#producer, this.#routes);
    const now = Date.now();
    if (this.#reader.readObject(ping, now, source.identity, source.memory)) {
      this.#store(now);
      parts.accepted();
    } else {
      const reason = this.#reader.reason as ErrorCode;
      const text = Buffer.from(JSON.stringify(ping));
      this.#reject(text, 0, text.length, reason, source.transport, source.identity);
      parts.rejected(reason);
    }
    parts.end();
  }

  owntracks(body: Uint8Array, source: Source, done: Done): void {
    const ping = owntracksToPing(body);
    if (ping === "event") return this.event(body, source, done);
    if (typeof ping === "string") {
      this.metrics.count(source.transport, source.dialect, body.length);
      return this.reject(body, source, ping, done);
    }
    this.object(ping, source, done);
  }

  event(bytes: Uint8Array, source: Source, done: Done): void {
    this.metrics.count(source.transport, source.dialect, bytes.length);
    if (!isJson(bytes)) return this.reject(bytes, source, "bad_json", done);
    this.#record(this.#routes.events, bytes, source, done);
  }

  reject(bytes: Uint8Array, source: Source, reason: ErrorCode, done: Done): void {
    this.#take(Math.min(bytes.length, limits.rejectPayloadBytesMax), 1);
    const parts = this.#parts(done, source);
    parts.begin(this.#producer, this.#routes);
    this.#reject(bytes, 0, bytes.length, reason, source.transport, source.identity);
    parts.rejected(reason);
    parts.end();
  }

  #parts(done: Done, { transport }: Source): Parts {
    return new Parts(done, this.metrics.acks[transport], this.#placesKnown);
  }

  // --- records ---

  #fits(bytes: number): boolean {
    return this.#producer.fits(this.#need(bytes), this.#copies);
  }
  #take(bytes: number, pings: number): void {
    this.#producer.take(this.#need(bytes), pings * this.#copies);
  }
  /** A short ping may be written anew as a long one: `1e15` in an unknown field has 16 digits. */
  #need(bytes: number): number {
    const most = Math.max(limits.pingBytesMax, Math.min(bytes, limits.frameBytesMax));
    return (most + EXTRA_BYTES) * this.#copies;
  }
  get #copies(): number {
    return Math.max(1, this.#routes.positions.length, this.#routes.events.length);
  }

  /** The ping just read, into every topic that takes it. */
  #store(now: number): void {
    const r = this.#reader;
    const hash = murmur2(r.key, r.keyStart, r.keyEnd);
    for (const { topic, partitions, resolution } of this.#routes.positions) {
      let { key, keyStart, keyEnd } = r;
      let partition: number;
      if (resolution < 0) partition = partitionOfHash(hash, partitions);
      else {
        key = (this.#cells[resolution] ??= new CellCache(resolution)).cellOf(hash, r.lat, r.lon);
        keyStart = 0;
        keyEnd = key.length;
        partition = partitionOf(key, 0, keyEnd, partitions);
      }
      this.#producer.append(
        topic,
        partition,
        key,
        keyStart,
        keyEnd,
        r.value,
        r.valueStart,
        r.valueEnd,
        now,
        null,
      );
    }
  }

  #reject(
    b: Uint8Array,
    start: number,
    end: number,
    reason: ErrorCode,
    transport: Transport,
    driver: Uint8Array | null,
  ): void {
    this.metrics.rejected(transport, reason);
    const cut = Math.min(end, start + limits.rejectPayloadBytesMax);
    const headers: Header[] = [
      [HEADER_REASON, Buffer.from(reason)],
      [HEADER_TRANSPORT, Buffer.from(transport)],
    ];
    if (driver !== null) headers.push([HEADER_DRIVER, driver]);
    this.#keyed(this.#routes.rejects, driver, b, start, cut, headers);
  }

  #record(routes: readonly Route[], body: Uint8Array, source: Source, done: Done): void {
    const max = routes === this.#routes.commands ? limits.commandBytesMax : limits.frameBytesMax;
    if (body.length > max) return this.reject(body, source, "too_large", done);
    if (routes.length === 0) return this.reject(body, source, "unknown_topic", done);
    this.#take(body.length, 1);
    const parts = this.#parts(done, source);
    parts.begin(this.#producer, this.#routes);
    this.#keyed(routes, source.identity, body, 0, body.length, null);
    parts.event(routes.length);
    parts.end();
  }

  #keyed(
    routes: readonly Route[],
    key: Uint8Array | null,
    b: Uint8Array,
    start: number,
    end: number,
    headers: readonly Header[] | null,
  ): void {
    const keyEnd = key?.length ?? 0;
    for (const { topic, partitions } of routes) {
      const partition = key === null ? 0 : partitionOf(key, 0, keyEnd, partitions);
      this.#producer.append(topic, partition, key, 0, keyEnd, b, start, end, Date.now(), headers);
    }
  }
}

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
    return true;
  } catch {
    return false;
  }
}
