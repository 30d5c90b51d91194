/**
 * A worker's way into the log: records go straight into the open batch of their partition; the
 * batches opened since the last hand-over make up a submission, which travels in one slab and is
 * answered as a whole. Who waits for an acknowledgement waits on the submission, in arrival order,
 * so acknowledgements keep the order of the sends whatever the partitions.
 *
 *     take() … append() … wait()   →  seal  →  post  →  answer  →  settle every waiter in order
 *
 * Flow control: at most `slabsInFlightMax` slabs are with the log thread; meanwhile the open
 * submission grows, so batches grow under load by themselves. When the slabs run out, `onPause`
 * stops the sockets; what cannot be stopped goes on into overflow slabs up to a hard bound.
 */
import type { MessagePort } from "node:worker_threads";
import { BatchBuilder } from "../batch/builder.ts";
import { limits } from "../model/limits.ts";
import { Slab, SLAB_BATCHES_MAX } from "./slab.ts";
import { refusalOf, Submission, type Refusal, type Waiter } from "./submission.ts";

type Lane = { builder: BatchBuilder; topic: number; partition: number; batch: number };

/** Header of a batch and what a record costs beside its key, value and headers, at the most. */
const BATCH_OVERHEAD = 64;
const RECORD_OVERHEAD = 40;

export type ProducerEvents = {
  onPause(): void;
  onResume(): void;
  /** After every answer: collected acknowledgements leave now. `openedMs`: the first's start. */
  onSettled(openedMs: number): void;
};

export class LogProducer {
  readonly #port: MessagePort;
  readonly #events: ProducerEvents;
  readonly #free: Submission[] = [];
  /** Posted or waiting to be posted, oldest first. */
  readonly #queue: Submission[] = [];
  readonly #lanes: Lane[][] = [];
  readonly #touched: Lane[] = [];
  #slabs = 0;
  #posted = 0;
  #open: Submission;
  #turnScheduled = false;
  #stuck = false;
  #paused = false;

  constructor(port: MessagePort, events: ProducerEvents) {
    this.#port = port;
    this.#events = events;
    for (let i = 0; i < limits.slabsPerWorker; i++) this.#addSlab();
    this.#open = this.#takeFree();
    port.on("message", (slabIndex: number) => this.#answered(slabIndex));
  }

  /** Reading should stop: what was taken waits for the disk. */
  get paused(): boolean {
    return this.#paused;
  }
  /** Nothing more fits anywhere: even what cannot be paused must be refused. */
  get full(): boolean {
    return this.#slabs - this.#free.length >= limits.slabsPerWorker + limits.slabsOverflowMax;
  }
  /** QoS 0 is dropped from here on. */
  get shedding(): boolean {
    return this.#free.length < limits.slabsFreeShedBelow;
  }
  /** The log has not answered for so long that new work is refused. */
  get stuck(): boolean {
    return this.#stuck;
  }
  /** Nothing is open or unanswered. */
  get idle(): boolean {
    return this.#queue.length === 0 && this.#open.empty;
  }

  /** Whether `take` of the same would go on in the open submission. */
  fits(bytes: number, records: number): boolean {
    const { bytes: used, batches } = this.#open;
    const need = bytes + records * (RECORD_OVERHEAD + BATCH_OVERHEAD);
    return used + need <= limits.slabBytes && batches + records <= SLAB_BATCHES_MAX;
  }

  /**
   * Before a body: what is there goes to the log when it is much, since a turn of the loop may
   * read thousands of sockets. Never inside a body: its pings would part from who waits for them.
   */
  relieve(): void {
    if (this.#open.refCount >= limits.recordsEager) this.#pump();
  }

  /** Makes room for what follows in one submission: `bytes` of keys and values in `records`. */
  take(bytes: number, records: number): void {
    if (!this.fits(bytes, records)) {
      this.#seal();
      if (!this.fits(bytes, records)) throw new Error(`${bytes} bytes do not fit a slab`);
    }
    if (this.#open.empty) this.#open.openedMs = Date.now();
    if (!this.#turnScheduled) {
      this.#turnScheduled = true;
      setImmediate(this.#endOfTurn);
    }
  }

  append(
    topic: number,
    partition: number,
    key: Uint8Array | null,
    keyStart: number,
    keyEnd: number,
    value: Uint8Array | null,
    valueStart: number,
    valueEnd: number,
    timestampMs: number,
    headers: readonly (readonly [Uint8Array, Uint8Array])[] | null,
  ): void {
    const open = this.#open;
    let lane = this.#lanes[topic]?.[partition];
    if (lane === undefined) lane = this.#addLane(topic, partition);
    const builder = lane.builder;
    if (
      lane.batch >= 0 &&
      (builder.bytes + (valueEnd - valueStart) > limits.batchBytesMax ||
        builder.count >= limits.batchRecordsMax)
    ) {
      this.#sealLane(lane);
      lane.batch = open.batches++;
      open.bytes += BATCH_OVERHEAD;
    } else if (lane.batch < 0) {
      lane.batch = open.batches++;
      open.bytes += BATCH_OVERHEAD;
      this.#touched.push(lane);
    }
    const before = builder.bytes;
    const record = builder.append(
      key,
      keyStart,
      keyEnd,
      value,
      valueStart,
      valueEnd,
      timestampMs,
      headers,
    );
    open.bytes += builder.bytes - before;
    if (open.refCount * 2 + 2 > open.refs.length) open.refs = grown(open.refs);
    open.refs[open.refCount * 2] = lane.batch;
    open.refs[open.refCount * 2 + 1] = record;
    open.refCount++;
  }

  /** The refs appended since `first` are `waiter`'s: it is told once, in order. */
  wait(waiter: Waiter, tag: number, first: number): void {
    const open = this.#open;
    if (open.waiterCount * 2 + 2 > open.tags.length) open.tags = grown(open.tags);
    open.tags[open.waiterCount * 2] = tag;
    open.tags[open.waiterCount * 2 + 1] = first;
    open.waiters[open.waiterCount++] = waiter;
  }

  /** The one that takes what is appended now. */
  get open(): Submission {
    return this.#open;
  }

  /** Number of the next ref: what `wait` calls `first`. */
  get nextRef(): number {
    return this.#open.refCount;
  }

  /** Time passes: what has waited longer than the limit is refused, though it may still land. */
  tick(nowMs: number): void {
    const oldest = this.#queue[0];
    if (oldest === undefined || nowMs - oldest.openedMs < limits.ackMsMax) return;
    this.#stuck = true;
    // what could not be handed over has waited no less
    if (!this.#open.empty && nowMs - this.#open.openedMs >= limits.ackMsMax) this.#seal();
    for (const s of this.#queue) {
      if (!s.settled && nowMs - s.openedMs >= limits.ackMsMax) this.#settle(s, "timeout");
    }
    this.#events.onSettled(oldest.openedMs);
  }

  /** Everything not answered is refused: the node stops without having written it. */
  abandon(): void {
    if (!this.#open.empty) this.#seal();
    for (const s of this.#queue) if (!s.settled) this.#settle(s, "shutdown");
    this.#events.onSettled(Date.now());
  }

  #endOfTurn = (): void => {
    this.#turnScheduled = false;
    this.#pump();
    if (!this.#paused && this.#free.length === 0) {
      this.#paused = true;
      this.#events.onPause();
    }
  };

  /** Hands over what the log thread has room for. */
  #pump(): void {
    while (this.#posted < limits.slabsInFlightMax) {
      const next = this.#queue[this.#posted];
      if (next !== undefined) {
        this.#posted++;
        this.#port.postMessage(next.slabIndex);
      } else if (!this.#open.empty) this.#seal();
      else return;
    }
  }

  #seal(): void {
    const open = this.#open;
    for (const lane of this.#touched) {
      this.#sealLane(lane);
      lane.batch = -1;
    }
    this.#touched.length = 0;
    open.slab.batches = open.batches;
    this.#queue.push(open);
    this.#open = this.#takeFree();
  }

  #sealLane(lane: Lane): void {
    const { builder } = lane;
    const open = this.#open;
    const length = builder.seal();
    const at = open.written;
    builder.copyTo(open.slab.bytes, at);
    open.slab.setBatch(lane.batch, lane.topic, lane.partition, at, length);
    open.written = at + length;
    builder.reset();
  }

  #answered(slabIndex: number): void {
    const s = this.#queue.shift();
    // the log thread answers in order; anything else means that acknowledgements would be wrong
    if (s === undefined || s.slabIndex !== slabIndex) throw new Error("log answered out of order");
    this.#posted--;
    this.#stuck = false;
    const { openedMs } = s;
    if (!s.settled) this.#settle(s, null);
    s.reset();
    this.#free.push(s);
    this.#pump();
    this.#events.onSettled(openedMs);
    if (this.#paused && this.#free.length >= limits.slabsPerWorker / 2) {
      this.#paused = false;
      this.#events.onResume();
    }
  }

  #settle(s: Submission, all: Refusal | null): void {
    s.settled = true;
    const { tags, waiters, waiterCount, slab } = s;
    let failed = all !== null;
    for (let b = 0; !failed && b < slab.batches; b++) failed = slab.errorOf(b) >= 0;
    for (let i = 0; i < waiterCount; i++) {
      const first = tags[i * 2 + 1];
      let refusal = all;
      if (failed && all === null) {
        const end = i + 1 < waiterCount ? tags[i * 2 + 3] : s.refCount;
        refusal = refusalOf(s, first, end);
      }
      waiters[i].settle(tags[i * 2], s, first, refusal);
    }
  }

  #takeFree(): Submission {
    if (this.#free.length === 0) this.#addSlab();
    return this.#free.pop() as Submission;
  }

  #addSlab(): void {
    const slab = Slab.create(limits.slabBytes);
    this.#port.postMessage(slab.shared);
    this.#free.push(new Submission(slab, this.#slabs++));
  }

  #addLane(topic: number, partition: number): Lane {
    const lane = { builder: new BatchBuilder(), topic, partition, batch: -1 };
    (this.#lanes[topic] ??= [])[partition] = lane;
    return lane;
  }
}

function grown(words: Int32Array): Int32Array<ArrayBuffer> {
  const bigger = new Int32Array(words.length * 2);
  bigger.set(words);
  return bigger;
}
