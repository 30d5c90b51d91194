/**
 * Write-behind into the compacted topic `__mqtt`: the newest value of each changed key waits here
 * while an append is under way, so a key that changes often is written once per append. Whoever
 * acknowledges something waits for `flushed()`.
 */
import type { LogClient, NewRecord } from "../../log/types.ts";

/** Well under a record batch's limit, whatever partition the records fall into. */
const APPEND_BYTES = 512 * 1024;
const RETRY_MS = 1000;

type Waiter = { resolve(): void; reject(error: unknown): void };

export class Journal {
  readonly #log: LogClient;
  readonly #topic: string;
  readonly #report: (line: string) => void;
  readonly #written: { value: number };
  #dirty = new Map<string, Buffer | null>();
  #waiters: Waiter[] = [];
  #busy = false;
  #failing = false;
  #retry: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(
    log: LogClient,
    topic: string,
    written: { value: number },
    report: (line: string) => void,
  ) {
    this.#log = log;
    this.#topic = topic;
    this.#written = written;
    this.#report = report;
  }

  set(key: string, value: Buffer): void {
    this.#put(key, value);
  }

  remove(key: string): void {
    this.#put(key, null);
  }

  /** Resolves when everything set so far is in the log; rejects when an append of it failed. */
  flushed(): Promise<void> {
    if (this.#dirty.size === 0 && !this.#busy) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#schedule();
    });
  }

  /** Writes what waits, once; nothing is tried again. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    await this.flushed().catch((error) => this.#report(`${this.#topic}: ${String(error)}`));
  }

  #put(key: string, value: Buffer | null): void {
    // the newest change of a key goes last: sessions are written in the order of their changes
    this.#dirty.delete(key);
    this.#dirty.set(key, value);
    if (this.#retry === null) this.#schedule();
  }

  #schedule(): void {
    if (this.#busy || this.#retry !== null) return;
    this.#busy = true;
    setImmediate(() => void this.#write());
  }

  async #write(): Promise<void> {
    const batch = this.#dirty;
    const waiters = this.#waiters;
    this.#dirty = new Map();
    this.#waiters = [];
    let error: unknown = null;
    try {
      for (const records of chunks(batch)) {
        await this.#log.append(this.#topic, records);
        this.#written.value += records.length;
      }
      this.#failing = false;
    } catch (e) {
      error = e;
      this.#failed(batch, e);
    }
    this.#busy = false;
    for (const w of waiters) {
      if (error === null) w.resolve();
      else w.reject(error);
    }
    if (this.#closed && error !== null) return;
    if (this.#dirty.size > 0 || this.#waiters.length > 0) this.#schedule();
  }

  /** What could not be written is tried again, but for keys that have changed since. */
  #failed(batch: Map<string, Buffer | null>, error: unknown): void {
    if (!this.#failing) this.#report(`${this.#topic}: ${String(error)}`);
    this.#failing = true;
    for (const [key, value] of batch) if (!this.#dirty.has(key)) this.#dirty.set(key, value);
    if (this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      this.#schedule();
    }, RETRY_MS).unref();
  }
}

function* chunks(batch: Map<string, Buffer | null>): Generator<NewRecord[]> {
  let records: NewRecord[] = [];
  let bytes = 0;
  for (const [key, value] of batch) {
    const record = { key: Buffer.from(key), value };
    const size = record.key.length + (value?.length ?? 0);
    if (records.length > 0 && bytes + size > APPEND_BYTES) {
      yield records;
      records = [];
      bytes = 0;
    }
    records.push(record);
    bytes += size;
  }
  if (records.length > 0) yield records;
}

/** Every committed record of a topic, partition by partition, oldest first. */
export async function eachRecord(
  log: LogClient,
  topic: string,
  take: (key: string, value: Uint8Array | null) => void,
): Promise<void> {
  for (const { partition, start, highWatermark } of await log.describe(topic)) {
    let next = start;
    while (next < highWatermark) {
      const got = await log.read(topic, partition, next, 1024 * 1024);
      for (const r of got.records) {
        if (r.offset >= next && r.key !== null) take(Buffer.from(r.key).toString(), r.value);
      }
      next = Math.max(got.next, next + 1); // compaction leaves gaps
    }
  }
}
