/** The log as any other thread sees it: requests and news over one message port. */
import type { MessagePort } from "node:worker_threads";
import { BatchBuilder } from "../batch/builder.ts";
import { endOffset } from "../batch/header.ts";
import { recordsOf } from "../batch/records.ts";
import { copyBytes } from "../lib/copy-bytes.ts";
import { MilepostError, type ErrorCode } from "../model/errors.ts";
import type {
  Appended,
  BatchPlace,
  FromLog,
  IndexedTopic,
  LogNode,
  LogOp,
  LogRequests,
} from "./protocol.ts";
import type { LogClient, LogRecord, NewRecord, PartitionState } from "./types.ts";

type Pending = { resolve(result: unknown): void; reject(error: Error): void };
type Partitioner = (key: Uint8Array, start: number, end: number, partitions: number) => number;
/** `batches`: what was committed, one behind the other; null when it is not said. */
type Committed = (partition: number, highWatermark: number, batches: Uint8Array | null) => void;

export class LogPort implements LogClient {
  readonly #port: MessagePort;
  readonly #partitionOf: Partitioner;
  readonly #pending = new Map<number, Pending>();
  readonly #topicListeners: (() => void)[] = [];
  readonly #committed = new Map<string, Set<Committed>>();
  #topics: IndexedTopic[] = [];
  #byName = new Map<string, IndexedTopic>();
  #byId = new Map<string, IndexedTopic>();
  #nextId = 1;
  #isClosed = false;
  #spread = 0;
  #writableListeners: (() => void)[] = [];
  readonly #forgottenListeners: ((path: string) => void)[] = [];
  #known: (() => void) | null = null;
  /** News with bytes that came, for the log thread to see. */
  readonly #heard = new Int32Array(new SharedArrayBuffer(4));
  readonly #ready = new Promise<void>((resolve) => (this.#known = resolve));
  writable = true;
  /** Why it is not, for people. */
  unwritable = "";
  /** Which log this is, the leader epoch of all of its partitions, and its own defaults. */
  node: LogNode = { id: "", epoch: -1, defaults: {} };

  /** `partitionOf` is the partitioner for keys: Kafka's murmur2. */
  constructor(port: MessagePort, partitionOf: Partitioner) {
    this.#port = port;
    this.#partitionOf = partitionOf;
    port.on("message", (m: FromLog) => this.#message(m));
    port.on("close", () => {
      this.#isClosed = true;
      for (const p of this.#pending.values()) p.reject(new MilepostError("shutdown"));
      this.#pending.clear();
    });
  }

  call<O extends LogOp>(op: O, ...args: LogRequests[O][0]): Promise<LogRequests[O][1]> {
    return this.#ask(op, args, []);
  }

  #ask<O extends LogOp>(
    op: O,
    args: LogRequests[O][0],
    transfer: ArrayBuffer[],
  ): Promise<LogRequests[O][1]> {
    if (this.#isClosed) return Promise.reject(new MilepostError("shutdown"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as (r: unknown) => void, reject });
      this.#port.postMessage({ id, op, args }, transfer);
    });
  }

  /** Resolves once the topics are known. */
  ready(): Promise<void> {
    return this.#ready;
  }

  topics(): IndexedTopic[] {
    return this.#topics;
  }

  topic(name: string): IndexedTopic | null {
    return this.#byName.get(name) ?? null;
  }

  topicById(id: string): IndexedTopic | null {
    return this.#byId.get(id) ?? null;
  }

  onTopics(listener: () => void): void {
    this.#topicListeners.push(listener);
  }

  onWritable(listener: () => void): void {
    this.#writableListeners.push(listener);
  }

  /** Told of every slice that must not stay open here. */
  onForgotten(listener: (path: string) => void): void {
    this.#forgottenListeners.push(listener);
  }

  /** `withBytes`: small commits are told whole, which saves reading them. */
  onCommitted(topic: string, listener: Committed, withBytes = false): () => void {
    let listeners = this.#committed.get(topic);
    if (listeners === undefined || withBytes) {
      this.#committed.set(topic, (listeners ??= new Set()));
      void this.call("listen", topic, withBytes ? this.#heard.buffer : null).catch(() => {});
    }
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  describe(topic: string): Promise<PartitionState[]> {
    return this.call("describe", topic);
  }

  async append(
    topic: string,
    records: NewRecord[],
  ): Promise<{ partition: number; offset: number }[]> {
    const info = this.topic(topic);
    if (info === null) throw new MilepostError("topic_missing", topic);
    const now = Date.now();
    const builders = new Map<number, BatchBuilder>();
    const places = records.map((r) => {
      const partition = r.partition ?? this.#partitionFor(r.key, info.partitions);
      let builder = builders.get(partition);
      if (builder === undefined) builders.set(partition, (builder = new BatchBuilder()));
      const index = builder.append(
        r.key,
        0,
        r.key?.length ?? 0,
        r.value,
        0,
        r.value?.length ?? 0,
        r.timestamp ?? now,
        r.headers?.map(([name, value]) => [Buffer.from(name), value] as const) ?? null,
      );
      return { partition, index };
    });
    const batches = [...builders].map(([partition, builder]) => {
      const bytes = new Uint8Array(builder.seal());
      builder.copyTo(bytes, 0);
      return { topic, partition, bytes };
    });
    const appended = await this.appendBatches(batches, false);
    const refused = appended.find(({ error }) => error !== null);
    if (refused !== undefined) throw new MilepostError(refused.error as ErrorCode, topic);
    const base = new Map(batches.map(({ partition }, i) => [partition, appended[i].baseOffset]));
    return places.map(({ partition, index }) => ({
      partition,
      offset: (base.get(partition) as number) + index,
    }));
  }

  /** Whole batches, which are copied; each is appended or refused by itself, in this order. */
  appendBatches(
    batches: readonly { topic: string; partition: number; bytes: Uint8Array }[],
    keyed: boolean,
  ): Promise<Appended[]> {
    let length = 0;
    for (const { bytes } of batches) length += bytes.length;
    const packed = Buffer.allocUnsafeSlow(length);
    let at = 0;
    const places = batches.map(({ topic, partition, bytes }): BatchPlace => {
      copyBytes(bytes, 0, bytes.length, packed, at);
      at += bytes.length;
      return { topic, partition, length: bytes.length };
    });
    return this.#ask("append", [places, packed, keyed], [packed.buffer]);
  }

  async read(topic: string, partition: number, offset: number, maxBytes: number) {
    const { batches, highWatermark, start } = await this.call(
      "read",
      topic,
      partition,
      offset,
      maxBytes,
    );
    const records: LogRecord[] = [];
    let next = offset;
    for (const batch of batches) {
      for (const r of recordsOf(batch)) {
        if (r.offset < offset) continue;
        records.push({ partition, ...r });
      }
      // compaction may have emptied the end of a batch, or all of it
      next = Math.max(next, endOffset(batch));
    }
    return { records, next, highWatermark, start };
  }

  close(): void {
    this.#port.close();
  }

  #partitionFor(key: Uint8Array | null, partitions: number): number {
    return key === null
      ? this.#spread++ % partitions
      : this.#partitionOf(key, 0, key.length, partitions);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #message(m: FromLog): void {
    if ("id" in m) {
      if ("error" in m) this.#take(m.id)?.reject(remoteError(m.error));
      else this.#take(m.id)?.resolve(m.result);
    } else if ("appended" in m) {
      for (const [id, result] of m.appended) this.#take(id)?.resolve(result);
    } else if ("topics" in m) {
      this.#topics = m.topics;
      this.#byName = new Map(m.topics.map((topic) => [topic.name, topic]));
      this.#byId = new Map(m.topics.map((topic) => [topic.id, topic]));
      this.node = m.node;
      this.#known?.();
      for (const listener of this.#topicListeners) listener();
    } else if ("writable" in m) {
      this.writable = m.writable;
      this.unwritable = m.why;
      for (const listener of this.#writableListeners) listener();
    } else if ("forgotten" in m) {
      for (const listener of this.#forgottenListeners) listener(m.forgotten);
    } else {
      const { bytes } = m;
      if (bytes !== null) Atomics.add(this.#heard, 0, 1);
      for (const [topic, partition, highWatermark, from, to] of m.committed) {
        const batches = to > from ? (bytes?.subarray(from, to) ?? null) : null;
        for (const l of this.#committed.get(topic) ?? []) l(partition, highWatermark, batches);
      }
    }
  }
}

/** The same error on this side of the port; its message stands as it was written there. */
function remoteError({ code, message }: { code: string; message: string }): MilepostError {
  const error = new MilepostError(code as ErrorCode);
  error.message = message;
  return error;
}
