/**
 * Delivers commands: reads topic `commands` in offset order and publishes each record to
 * `fleet/{driver}/cmd`, and to `owntracks/{user}/{device}/cmd` for a driver `user:device`. How far
 * it has come is journaled, so after a restart a command may be delivered again, never skipped.
 */
import { isDriverId } from "../../codec/rewrite.ts";
import type { LogRecord } from "../../log/types.ts";
import { limits } from "../../model/limits.ts";
import type { Journal } from "./journal.ts";
import type { BrokerMetrics } from "./metrics.ts";
import { decodeStored, encodeStored } from "./stored.ts";

export const COMMANDS = "commands";
const READ_BYTES = 256 * 1024;
const RETRY_MS = 1000;

/** `topicId`: offsets of a topic that was deleted and made anew mean nothing. */
type Position = { topicId: string; next: number };
type Partition = { next: number; running: boolean; wanted: boolean };

/** Where commands are read: this gateway's log, or the cluster behind its uplink. */
export type CommandLog = {
  topics(): { name: string; id: string; partitions: number }[];
  describe(topic: string): Promise<{ partition: number; start: number; highWatermark: number }[]>;
  read(
    topic: string,
    partition: number,
    offset: number,
    maxBytes: number,
  ): Promise<{ records: LogRecord[]; next: number; highWatermark: number }>;
  onTopics(listener: () => void): void;
  onCommitted(topic: string, listener: (partition: number) => void): () => void;
};

export type CommandTarget = {
  /** Whether anybody, connected or not, would get it. */
  hasSubscriber(topic: string): boolean;
  /** Resolves when it is queued for persistent sessions and on its way to connected ones. */
  publish(topic: string, payload: Uint8Array, expires: number): Promise<void>;
};

export class CommandDelivery {
  readonly #log: CommandLog;
  readonly #journal: Journal;
  readonly #target: CommandTarget;
  readonly #metrics: BrokerMetrics;
  readonly #now: () => number;
  readonly #report: (line: string) => void;
  readonly #positions = new Map<number, Position>();
  readonly #partitions = new Map<number, Partition>();
  #stopListening: () => void = () => {};
  #stopped = false;
  #trouble = "";

  constructor(
    log: CommandLog,
    journal: Journal,
    target: CommandTarget,
    metrics: BrokerMetrics,
    now: () => number,
    report: (line: string) => void,
  ) {
    this.#log = log;
    this.#journal = journal;
    this.#target = target;
    this.#metrics = metrics;
    this.#now = now;
    this.#report = report;
  }

  /** Takes a record `o/commands/{partition}` of `__mqtt`. */
  restore(key: string, value: Uint8Array | null): void {
    const head = value === null ? null : (decodeStored(value)?.head ?? null);
    const partition = Number(key.slice(`o/${COMMANDS}/`.length));
    if (typeof head?.next !== "number" || typeof head.topicId !== "string") return;
    this.#positions.set(partition, { topicId: head.topicId, next: head.next });
  }

  start(): void {
    this.#stopListening = this.#log.onCommitted(COMMANDS, (partition) => this.#wake(partition));
    this.#log.onTopics(() => this.#wakeAll());
    this.#wakeAll();
  }

  stop(): void {
    this.#stopped = true;
    this.#stopListening();
  }

  #wakeAll(): void {
    const info = this.#log.topics().find((t) => t.name === COMMANDS);
    for (let p = 0; p < (info?.partitions ?? 0); p++) this.#wake(p);
  }

  #wake(partition: number): void {
    if (this.#stopped) return;
    let state = this.#partitions.get(partition);
    if (state === undefined) {
      state = { next: -1, running: false, wanted: false };
      this.#partitions.set(partition, state);
    }
    state.wanted = true;
    if (!state.running) void this.#run(partition, state);
  }

  async #run(partition: number, state: Partition): Promise<void> {
    state.running = true;
    while (state.wanted && !this.#stopped) {
      state.wanted = false;
      try {
        await this.#deliver(partition, state);
        this.#trouble = "";
      } catch (error) {
        const trouble = `commands: ${String(error)}`;
        // an outage is tried through, and said once
        if (trouble !== this.#trouble) this.#report(trouble);
        this.#trouble = trouble;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
        state.next = -1; // back to what is journaled
        state.wanted = true;
      }
    }
    state.running = false;
  }

  /** To the high watermark. */
  async #deliver(partition: number, state: Partition): Promise<void> {
    const topicId = this.#log.topics().find((t) => t.name === COMMANDS)?.id;
    if (topicId === undefined) return;
    if (this.#positions.get(partition)?.topicId !== topicId) state.next = -1;
    if (state.next < 0) state.next = await this.#firstOffset(partition, topicId);
    for (;;) {
      if (this.#stopped) return;
      const got = await this.#log.read(COMMANDS, partition, state.next, READ_BYTES);
      const records = got.records.filter((r) => r.offset >= state.next);
      await this.#publishAll(records);
      if (this.#stopped) return;
      const next = Math.max(got.next, Math.min(state.next + 1, got.highWatermark));
      if (next === state.next) return;
      state.next = next;
      this.#positions.set(partition, { topicId, next: state.next });
      this.#journal.set(`o/${COMMANDS}/${partition}`, encodeStored({ topicId, next: state.next }));
      if (state.next >= got.highWatermark) return;
    }
  }

  async #firstOffset(partition: number, topicId: string): Promise<number> {
    const place = (await this.#log.describe(COMMANDS)).find((p) => p.partition === partition);
    const start = place?.start ?? 0;
    const known = this.#positions.get(partition);
    if (known === undefined || known.topicId !== topicId) {
      this.#positions.set(partition, { topicId, next: start });
      return start;
    }
    // retention has gone on, or the log has lost its end
    return Math.max(start, Math.min(known.next, place?.highWatermark ?? known.next));
  }

  /** Several drivers at once; two commands of one driver never. */
  async #publishAll(records: LogRecord[]): Promise<void> {
    let drivers = new Set<string>();
    let publishing: Promise<void>[] = [];
    for (const record of records) {
      const driver = record.key === null ? "" : Buffer.from(record.key).toString();
      if (drivers.has(driver)) {
        await Promise.all(publishing);
        drivers = new Set();
        publishing = [];
      }
      drivers.add(driver);
      publishing.push(this.#publish(driver, record));
    }
    await Promise.all(publishing);
  }

  async #publish(driver: string, record: LogRecord): Promise<void> {
    const { value, timestamp } = record;
    if (value === null || !isDriverId(driver)) {
      this.#metrics.commandInvalid.value++;
      return;
    }
    const expires = timestamp + limits.commandAgeMsMax;
    if (expires <= this.#now()) {
      this.#metrics.commandExpired.value++;
      return;
    }
    const topics = topicsOf(driver).filter((topic) => this.#target.hasSubscriber(topic));
    if (topics.length === 0) {
      this.#metrics.commandNoSession.value++;
      return;
    }
    for (const topic of topics) await this.#target.publish(topic, value, expires);
    this.#metrics.commandDelivered.value++;
  }
}

/** `a:b:c` may be user `a` or user `a:b`. */
function topicsOf(driver: string): string[] {
  const topics = [`fleet/${driver}/cmd`];
  for (let at = driver.indexOf(":"); at >= 0; at = driver.indexOf(":", at + 1)) {
    const user = driver.slice(0, at);
    const device = driver.slice(at + 1);
    if (user !== "" && device !== "") topics.push(`owntracks/${user}/${device}/cmd`);
  }
  return topics;
}
