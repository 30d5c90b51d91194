/**
 * The log thread: the only writer of LMDB. It takes the slabs of all workers and the appends of
 * all clients that are there, commits them together, and answers. A commit starts at most every
 * `commitEveryMs` unless `commitBytesEager` wait. A failed disk throws here: the thread dies, and
 * with it the process; nothing is acknowledged after that.
 */
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { watchThread } from "../metrics/process.ts";
import { type Histogram, Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { MilepostError } from "../model/errors.ts";
import { NewsListener } from "./commit-news.ts";
import {
  clusterIsAway,
  type Appended,
  type CommitNews,
  type FromLog,
  type FromLogThread,
  type LogMetrics,
  type LogOp,
  type LogRequests,
  type LogThreadOptions,
  type ToLog,
  type ToLogThread,
} from "./protocol.ts";
import { MirrorWaits, type MirroredTo } from "./mirror-waits.ts";
import { changing, lasting, requests, unpack } from "./requests.ts";
import { refusalIndex } from "./submission.ts";
import { Slab } from "./slab.ts";
import { LogStore } from "./store.ts";
import { TopicIndexes } from "./topic-indexes.ts";
import type { AppendBatch } from "./types.ts";
import { type Work, Works } from "./works.ts";

const APPEND_BOUNDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

type Producer = { port: MessagePort; slabs: Slab[] };
type QueuedSlab = { producer: Producer; index: number };
type QueuedAppend = { port: MessagePort; id: number; batches: AppendBatch[] };
type Client = { port: MessagePort; news: NewsListener };
type Asked = { port: MessagePort; id: number; op: LogOp };

export class LogThread {
  readonly #store: LogStore;
  /** Null: what is in this log is acknowledged. */
  readonly #waits: MirrorWaits | null;
  readonly #producers = new Set<Producer>();
  readonly #clients = new Set<Client>();
  readonly #indexes = new TopicIndexes();
  #slabs: QueuedSlab[] = [];
  #appends: QueuedAppend[] = [];
  readonly #works = new Works<Asked>((work) => this.#step(work));
  #bytes = 0;
  #scheduled: "no" | "later" | "now" = "no";
  #timer: NodeJS.Timeout | undefined;
  #lastCommit = 0;
  /** Why nothing is taken now; empty: it is. */
  #unwritable = "";
  /** The cluster without which nothing can be acknowledged. */
  #isAway = false;
  readonly #registry = new Registry();
  readonly #append: Histogram;
  readonly #unwatch: () => void;
  readonly #tick: NodeJS.Timeout;

  constructor(store: LogStore, mirrored = false) {
    this.#store = store;
    const isMirrored = (topic: string): boolean => store.topic(topic).mirrored !== null;
    this.#waits = mirrored ? new MirrorWaits(isMirrored) : null;
    this.#unwatch = watchThread(this.#registry, "log");
    this.#append = this.#registry.histogram(
      "milepost_append_duration_seconds",
      "A group commit, flush included",
      APPEND_BOUNDS,
    );
    this.#tick = setInterval(() => {
      store.tick(Date.now());
      this.#tellWritable();
    }, 100);
    store.onForgotten((path) => {
      for (const { port } of this.#clients) {
        port.postMessage({ forgotten: path } satisfies FromLog);
      }
    });
    this.#indexes.update(this.#store.topics());
  }

  addProducer(port: MessagePort): void {
    const producer: Producer = { port, slabs: [] };
    this.#producers.add(producer);
    port.on("close", () => {
      this.#producers.delete(producer);
      this.#waits?.forget(producer);
    });
    port.on("message", (m: SharedArrayBuffer | number) => {
      if (typeof m !== "number") {
        producer.slabs.push(new Slab(m));
        return;
      }
      this.#slabs.push({ producer, index: m });
      const slab = producer.slabs[m];
      for (let i = 0; i < slab.batches; i++) this.#bytes += slab.bytesOf(i).length;
      this.#schedule();
    });
  }

  addClient(port: MessagePort): void {
    const client: Client = { port, news: new NewsListener() };
    this.#clients.add(client);
    port.on("close", () => this.#clients.delete(client));
    port.on("message", (m: ToLog) => this.#request(client, m));
    port.postMessage(this.#news());
    port.postMessage({ writable: this.#writable, why: this.#unwritable } satisfies FromLog);
  }

  stop(): void {
    this.#unwatch();
    clearInterval(this.#tick);
    clearTimeout(this.#timer);
    this.#commit();
    this.#store.close();
    for (const { port } of this.#producers) port.close();
    for (const { port } of this.#clients) port.close();
  }

  #schedule(): void {
    if (this.#scheduled === "now") return;
    const wait = this.#lastCommit + limits.commitEveryMs - performance.now();
    if (wait <= 0 || this.#bytes >= limits.commitBytesEager) {
      clearTimeout(this.#timer);
      this.#scheduled = "now";
      // what else lies in the ports joins this commit
      setImmediate(this.#commit);
    } else if (this.#scheduled === "no") {
      this.#scheduled = "later";
      this.#timer = setTimeout(this.#commit, Math.ceil(wait));
    }
  }

  #commit = (): void => {
    this.#scheduled = "no";
    if (this.#slabs.length === 0 && this.#appends.length === 0) return;
    const slabs = this.#slabs;
    const appends = this.#appends;
    this.#slabs = [];
    this.#appends = [];
    this.#bytes = 0;
    const started = performance.now();
    this.#lastCommit = started;

    const batches: AppendBatch[] = [];
    for (const { producer, index } of slabs) {
      const slab = producer.slabs[index];
      for (let i = 0; i < slab.batches; i++) {
        batches.push({
          topic: this.#indexes.nameOf(slab.topicOf(i)),
          partition: slab.partitionOf(i),
          bytes: slab.bytesOf(i),
          baseOffset: -1,
          error: null,
        });
      }
    }
    for (const a of appends) for (const b of a.batches) batches.push(b);

    this.#store.append(batches, Date.now());
    // before slabs are given back: their bytes are the worker's again then
    const news = this.#newsOf(batches);

    this.#answerCommit(slabs, appends, batches);
    this.#append.observe((performance.now() - started) / 1000);
    for (const { port, news: message } of news) port.postMessage(message satisfies FromLog);
    this.#tellWritable();
  };

  /** At once, or when the cluster has what was committed. */
  #answerCommit(slabs: QueuedSlab[], appends: QueuedAppend[], batches: AppendBatch[]): void {
    const waits = this.#waits;
    let at = 0;
    for (const { producer, index } of slabs) {
      const own = batches.slice(at, (at += producer.slabs[index].batches));
      if (waits === null) answerSlab(producer, index, own);
      else waits.hold(own, producer, () => answerSlab(producer, index, own));
    }
    if (waits === null) return this.#answerAppends(appends);
    for (const a of appends) waits.hold(a.batches, null, () => this.#answerAppends([a]));
  }

  /** What the uplink says. */
  #mirrored(rows: MirroredTo[], away: boolean): void {
    for (const row of rows) {
      const { mirrored } = this.#store.topic(row.topic);
      if (mirrored !== null) mirrored[row.partition] = row.to;
      this.#waits?.mirrored(row);
    }
    this.#waits?.answer();
    this.#isAway = away;
    this.#tellWritable();
  }

  /** One message a client: it wakes once for all of its appends. */
  #answerAppends(appends: QueuedAppend[]): void {
    const answers = new Map<MessagePort, [id: number, Appended[]][]>();
    for (const { port, id, batches } of appends) {
      const result = batches.map(({ topic, partition, baseOffset, error }): Appended => {
        return { baseOffset, error, logStart: this.#store.logStart(topic, partition) };
      });
      const own = answers.get(port);
      if (own === undefined) answers.set(port, [[id, result]]);
      else own.push([id, result]);
    }
    for (const [port, appended] of answers) this.#answer(port, { appended });
  }

  #newsOf(batches: AppendBatch[]): { port: MessagePort; news: CommitNews }[] {
    const watermarkOf = (topic: string, partition: number): number =>
      this.#store.watermark(topic, partition).highWatermark;
    return [...this.#clients].flatMap(({ port, news: listener }) => {
      const news = listener.newsOf(batches, watermarkOf);
      return news === null ? [] : [{ port, news }];
    });
  }

  #tellWritable(): void {
    let why = this.#store.unwritable;
    if (why === "" && this.#waits !== null && this.#isAway) why = clusterIsAway;
    if (why === this.#unwritable) return;
    this.#unwritable = why;
    for (const { port } of this.#clients) {
      port.postMessage({ writable: this.#writable, why } satisfies FromLog);
    }
  }

  get #writable(): boolean {
    return this.#unwritable === "";
  }

  #request(client: Client, message: ToLog): void {
    const { id, op, args } = message;
    const { port } = client;
    try {
      if (op === "append") {
        const batches = unpack(...(args as LogRequests["append"][0]));
        for (const b of batches) this.#bytes += b.bytes.length;
        this.#appends.push({ port, id, batches });
        this.#schedule();
      } else if (op === "listen") {
        const [topic, heard] = args as LogRequests["listen"][0];
        client.news.listen(topic, heard);
        this.#answer(port, { id, result: undefined });
      } else if (op === "mirrored") {
        this.#mirrored(...(args as LogRequests["mirrored"][0]));
        this.#answer(port, { id, result: undefined });
      } else if (op === "metrics") {
        this.#answer(port, { id, result: this.#metrics() });
      } else {
        const answering = requests[op](this.#store, args as never);
        const work = { of: { port, id, op }, answering };
        if (lasting.has(op)) this.#works.add(work);
        else this.#step(work);
      }
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      this.#refuse(port, id, error);
    }
  }

  /** True when it is answered. */
  #step = ({ of: { port, id, op }, answering }: Work<Asked>): boolean => {
    try {
      const step = answering.next();
      if (step.done !== true) return false;
      if (changing.has(op)) this.#changed();
      this.#answer(port, { id, result: step.value });
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      this.#refuse(port, id, error);
    }
    return true;
  };

  #changed(): void {
    this.#indexes.update(this.#store.topics());
    const news = this.#news();
    for (const { port } of this.#clients) port.postMessage(news);
  }

  #news(): FromLog {
    const { nodeId: id, recovery, defaults } = this.#store;
    const topics = this.#store.topics().map((t) => {
      return { ...t, index: this.#indexes.indexOf(t.id) };
    });
    return { topics, node: { id, epoch: recovery.epoch, defaults } };
  }

  #metrics(): LogMetrics {
    return {
      ...this.#store.metrics(),
      writable: this.#writable,
      thread: this.#registry.snapshot(),
    };
  }

  #answer(port: MessagePort, message: FromLog): void {
    port.postMessage(message);
  }

  #refuse(port: MessagePort, id: number, { code, message }: MilepostError): void {
    port.postMessage({ id, error: { code, message } } satisfies FromLog);
  }
}

/** The slab is its worker's again. */
function answerSlab({ port, slabs }: Producer, index: number, batches: AppendBatch[]): void {
  const slab = slabs[index];
  for (const [i, { baseOffset, error }] of batches.entries()) {
    slab.setResult(i, baseOffset, error === null ? -1 : refusalIndex(error));
  }
  port.postMessage(index);
}

if (parentPort !== null) {
  const parent = parentPort;
  const tell = (m: FromLogThread): void => parent.postMessage(m);
  const { dir, diskMin, durability, uplink, now } = workerData as LogThreadOptions;
  const log = (line: string): void => tell({ line });
  const store = LogStore.open({ dir, diskMin, durability, uplink: uplink !== null, now, log });
  const thread = new LogThread(store, uplink?.mirrored);
  parent.on("message", (m: ToLogThread) => {
    if ("producer" in m) thread.addProducer(m.producer);
    else if ("client" in m) thread.addClient(m.client);
    else {
      thread.stop();
      tell({ stopped: true });
      parent.close();
    }
  });
  tell({ ready: store.recovery });
}
