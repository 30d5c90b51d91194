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
import type {
  Appended,
  BatchPlace,
  FromLog,
  FromLogThread,
  LogMetrics,
  LogOp,
  LogRequests,
  LogThreadOptions,
  Place,
  ToLog,
  ToLogThread,
} from "./protocol.ts";
import { type Answering, changing, lasting, locate, requests } from "./requests.ts";
import { refusalIndex } from "./submission.ts";
import { Slab } from "./slab.ts";
import { LogStore } from "./store.ts";
import type { AppendBatch } from "./types.ts";

const APPEND_BOUNDS = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

type Producer = { port: MessagePort; slabs: Slab[] };
type QueuedSlab = { producer: Producer; index: number };
type QueuedAppend = { port: MessagePort; id: number; batches: AppendBatch[] };
/** Topics it hears of, and whether it is told where commits lie. */
type Client = { port: MessagePort; topics: Map<string, boolean> };
type Work = { port: MessagePort; id: number; op: LogOp; answering: Answering<unknown> };

export class LogThread {
  readonly #store: LogStore;
  readonly #producers = new Set<Producer>();
  readonly #clients = new Set<Client>();
  readonly #names: string[] = [];
  readonly #indexOf = new Map<string, number>();
  #slabs: QueuedSlab[] = [];
  #appends: QueuedAppend[] = [];
  /** Operations that may take long, under way. */
  #works: Work[] = [];
  #bytes = 0;
  #scheduled: "no" | "later" | "now" = "no";
  #timer: NodeJS.Timeout | undefined;
  #lastCommit = 0;
  #writable = true;
  readonly #registry = new Registry();
  readonly #append: Histogram;
  readonly #unwatch: () => void;
  readonly #tick: NodeJS.Timeout;

  constructor(store: LogStore) {
    this.#store = store;
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
    this.#nameTopics();
  }

  addProducer(port: MessagePort): void {
    const producer: Producer = { port, slabs: [] };
    this.#producers.add(producer);
    port.on("close", () => this.#producers.delete(producer));
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
    const client: Client = { port, topics: new Map() };
    this.#clients.add(client);
    port.on("close", () => this.#clients.delete(client));
    port.on("message", (m: ToLog) => this.#request(client, m));
    port.postMessage(this.#news());
    port.postMessage({ writable: this.#writable } satisfies FromLog);
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
          topic: this.#names[slab.topicOf(i)],
          partition: slab.partitionOf(i),
          bytes: slab.bytesOf(i),
          baseOffset: -1,
          error: null,
        });
      }
    }
    for (const a of appends) for (const b of a.batches) batches.push(b);

    this.#store.append(batches, Date.now());

    let at = 0;
    for (const { producer, index } of slabs) {
      const slab = producer.slabs[index];
      for (let i = 0; i < slab.batches; i++) {
        const b = batches[at++];
        slab.setResult(i, b.baseOffset, b.error === null ? -1 : refusalIndex(b.error));
      }
      producer.port.postMessage(index);
    }
    this.#answerAppends(appends);
    this.#append.observe((performance.now() - started) / 1000);
    this.#tellCommitted(batches);
    this.#tellWritable();
  };

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

  #tellCommitted(batches: AppendBatch[]): void {
    for (const { port, topics } of this.#clients) {
      if (topics.size === 0) continue;
      const rows = new Map<string, [string, number, number, Place?]>();
      for (const b of batches) {
        if (b.error !== null || !topics.has(b.topic)) continue;
        const key = `${b.topic}/${b.partition}`;
        if (rows.has(key)) continue;
        const { highWatermark } = this.#store.watermark(b.topic, b.partition);
        rows.set(key, [b.topic, b.partition, highWatermark]);
        if (topics.get(b.topic) === true) rows.get(key)?.push(this.#placeOf(b));
      }
      if (rows.size > 0) port.postMessage({ committed: [...rows.values()] } satisfies FromLog);
    }
  }

  #placeOf({ topic, partition, baseOffset: offset }: AppendBatch): Place {
    const read = { topic, partition, offset, maxBytes: limits.placeBytesMax };
    return { offset, located: locate(this.#store, read) };
  }

  #tellWritable(): void {
    if (this.#writable === this.#store.writable) return;
    this.#writable = this.#store.writable;
    for (const { port } of this.#clients) {
      port.postMessage({ writable: this.#writable } satisfies FromLog);
    }
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
        const [topic, places] = args as LogRequests["listen"][0];
        client.topics.set(topic, places || client.topics.get(topic) === true);
        this.#answer(port, { id, result: undefined });
      } else if (op === "metrics") {
        this.#answer(port, { id, result: this.#metrics() });
      } else {
        const answering = requests[op](this.#store, args as never);
        const work = { port, id, op, answering };
        if (!lasting.has(op)) this.#step(work);
        else if (this.#works.push(work) === 1) setImmediate(this.#workOn);
      }
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      this.#refuse(port, id, error);
    }
  }

  /** A step of each in turn, all together for so long: then a commit may begin. */
  #workOn = (): void => {
    const until = performance.now() + limits.logStepMs;
    do {
      const work = this.#works.shift() as Work;
      if (!this.#step(work)) this.#works.push(work);
    } while (this.#works.length > 0 && performance.now() < until);
    if (this.#works.length > 0) setImmediate(this.#workOn);
  };

  /** True when it is answered. */
  #step({ port, id, op, answering }: Work): boolean {
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
  }

  #changed(): void {
    this.#nameTopics();
    const news = this.#news();
    for (const { port } of this.#clients) port.postMessage(news);
  }

  /** A topic made anew under an old name gets a new index: old slabs never reach it. */
  #nameTopics(): void {
    for (const { name, id } of this.#store.topics()) {
      if (this.#indexOf.has(id)) continue;
      this.#indexOf.set(id, this.#names.length);
      this.#names.push(name);
    }
    const live = new Map(this.#store.topics().map((t) => [t.id, t]));
    for (const [id, index] of this.#indexOf) if (!live.has(id)) this.#names[index] = "";
  }

  #news(): FromLog {
    const { nodeId: id, recovery, defaults } = this.#store;
    const topics = this.#store.topics().map((t) => {
      return { ...t, index: this.#indexOf.get(t.id) as number };
    });
    return { topics, node: { id, epoch: recovery.epoch, defaults } };
  }

  #metrics(): LogMetrics {
    const { writable } = this.#store;
    return { ...this.#store.metrics(), writable, thread: this.#registry.snapshot() };
  }

  #answer(port: MessagePort, message: FromLog): void {
    port.postMessage(message);
  }

  #refuse(port: MessagePort, id: number, { code, message }: MilepostError): void {
    port.postMessage({ id, error: { code, message } } satisfies FromLog);
  }
}

function unpack(places: BatchPlace[], bytes: Uint8Array, keyed: boolean): AppendBatch[] {
  let at = 0;
  return places.map(({ topic, partition, length }) => {
    const batch = bytes.subarray(at, (at += length));
    return { topic, partition, bytes: batch, baseOffset: -1, error: null, keyed };
  });
}

if (parentPort !== null) {
  const parent = parentPort;
  const tell = (m: FromLogThread): void => parent.postMessage(m);
  const { dir, diskMin, durability, now } = workerData as LogThreadOptions;
  const log = (line: string): void => tell({ line });
  const store = LogStore.open({ dir, diskMin, durability, now, log });
  const thread = new LogThread(store);
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
