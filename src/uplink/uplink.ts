/**
 * The way up: what is committed in the log's topics goes to the cluster behind the uplink, each
 * batch once and in order. It reads the log by offset, so an outage costs no memory; where each
 * partition stands is kept beside the log, and the cluster is asked whenever that is unsure.
 *
 *     committed ─▶ lanes read ahead ─▶ stamped, sent ─▶ answered ─▶ the log is told: mirrored to
 */
import { setImmediate as pause } from "node:timers/promises";
import type { LogPort } from "../log/client.ts";
import type { MirroredTo } from "../log/mirror-waits.ts";
import type { LogReader } from "../log/reader.ts";
import { limits } from "../model/limits.ts";
import { MilepostError } from "../model/errors.ts";
import { atMost } from "../lib/at-most.ts";
import { Asker } from "./asker.ts";
import type { Answer, Verdict } from "./forwarding.ts";
import { Lane } from "./lane.ts";
import { LaneReader } from "./lane-reader.ts";
import { Sender } from "./sender.ts";
import type { Standings, StandingsFile } from "./standings-file.ts";
import type { Producer } from "./stamped.ts";
import type { Target, TargetView } from "./target.ts";
import { TopicWatch } from "./topic-watch.ts";
import { mirroredTopics } from "./topics.ts";
import { Trouble } from "./trouble.ts";

export type UplinkOptions = {
  log: LogPort;
  reader: LogReader;
  target: Target;
  file: StandingsFile;
  /** As it was read, or begun. */
  standings: Standings;
  /** Of this data directory. */
  home: number;
  report: (line: string) => void;
  /** Told of each change of `trouble`. */
  changed: (trouble: string) => void;
};

export class Uplink {
  readonly #o: UplinkOptions;
  readonly #lanes: Lane[] = [];
  readonly #byPlace = new Map<string, Lane>();
  readonly #heardOf = new Set<string>();
  readonly #reader: LaneReader;
  readonly sender: Sender;
  readonly #topics: TopicWatch;
  /** What the log has not been told yet. */
  #news: MirroredTo[] = [];
  #isPumping = false;
  #hasNews = false;
  #isStopped = false;
  #isRenewing = false;
  readonly #asker: Asker;
  /** Their sequences were told anew: to be on disk before they go on. */
  readonly #changed = new Set<Lane>();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #trouble = new Trouble();
  readonly #said = new Set<string>();
  #troubleTold = "";
  readonly counts = { retries: 0, asked: 0 };

  constructor(options: UplinkOptions) {
    this.#o = options;
    this.#reader = new LaneReader(options.reader, options.report);
    const { log, target, standings, report } = options;
    this.#topics = new TopicWatch(log, target, standings, {
      madeAnew: (name) => {
        for (const lane of this.#lanes) if (lane.topic === name) lane.forwarding.unsure();
      },
      looked: () => {
        this.#trouble.heard();
        void this.#pump();
      },
      failed: (error) => this.#silent(error),
      report,
    });
    this.#asker = new Asker(target, {
      told: (lane, lastSequence, producer) => {
        if (producer === this.#producer) this.#told(lane, lastSequence);
      },
      heard: () => {
        this.#trouble.heard();
        const changed = [...this.#changed];
        this.#changed.clear();
        return this.#saveThenGoOn(changed);
      },
      failed: (error) => this.#silent(error),
      done: () => {
        this.#tell();
        void this.#pump();
      },
    });
    this.sender = new Sender(target, {
      answered: (lane, base, answer, time) => this.#answered(lane, base, answer, time),
      gap: (lane, base) => this.#gap(lane, base),
      failed: (error) => this.#silent(error),
      done: () => {
        this.#tell();
        void this.#pump();
      },
    });
  }

  /** `view`: what was found at the start; null: the cluster is away. */
  async start(view: TargetView | null): Promise<void> {
    const { log, standings, home } = this.#o;
    if (view !== null) this.#trouble.heard();
    this.#topics.start(view);
    await this.#addLanes();
    if (standings.home !== home) void this.#renew("this directory is a copy of another");
    log.onTopics(() => void this.#addLanes());
    this.#tick();
    this.#timers.push(setInterval(() => this.#tick(), limits.uplinkTickMs));
    this.#timers.push(setInterval(() => void this.#save(), limits.uplinkSaveMs));
    void this.#pump();
  }

  /** Requests on their way have a moment yet. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#topics.stop();
    const until = performance.now() + limits.uplinkStopMsMax;
    while (this.sender.inFlight > 0 && performance.now() < until) await sleep(10);
    await this.#save();
    await atMost(limits.uplinkStopMsMax, this.#o.target.close());
  }

  get lanes(): readonly Lane[] {
    return this.#lanes;
  }

  /** Why what waits does not get there; empty: it does. */
  get trouble(): string {
    return this.#trouble.text(this.#lanes);
  }

  async #addLanes(): Promise<void> {
    const { log, standings } = this.#o;
    for (const { name } of mirroredTopics(log.topics())) {
      // first of all: what is committed meanwhile is in what is described, or told
      this.#listen(name);
      const states = await log.describe(name).catch(() => []);
      const { partitions } = standings.topics[name];
      for (const { partition, start, highWatermark } of states) {
        if (this.#byPlace.has(`${name}/${partition}`)) continue;
        // one that was added since the start begins with its first record
        partitions[partition] ??= { origin: start, acked: start, cut: null };
        const lane = new Lane(name, partition, partitions[partition]);
        lane.committed(highWatermark, null, performance.now());
        this.#lanes.push(lane);
        this.#byPlace.set(`${name}/${partition}`, lane);
        this.#news.push({ topic: name, partition, to: lane.forwarding.acked, shift: null });
      }
    }
    void this.#pump();
  }

  #listen(topic: string): void {
    if (this.#heardOf.has(topic)) return;
    this.#heardOf.add(topic);
    const told = (p: number, highWatermark: number, batches: Uint8Array | null): void => {
      const lane = this.#byPlace.get(`${topic}/${p}`);
      lane?.committed(highWatermark, batches, performance.now());
      void this.#pump();
    };
    this.#o.log.onCommitted(topic, told, true);
  }

  // --- reading and sending ---

  async #pump(): Promise<void> {
    this.#hasNews = true;
    if (this.#isPumping) return;
    this.#isPumping = true;
    // the rest of the same news comes first
    await Promise.resolve();
    try {
      while (this.#hasNews && !this.#isStopped) {
        this.#hasNews = false;
        const led = this.#topics.led(this.#lanes);
        if (!this.#isRenewing) this.#asker.ask(led, this.#producer, performance.now());
        // one that cannot leave holds no room that others could use
        const readable = led.flatMap(({ lanes }) => lanes);
        if (await this.#reader.fill(readable, performance.now())) this.#hasNews = true;
        this.#send();
        await pause();
      }
    } catch (error) {
      // the log stops before this thread does
      if (!(error instanceof MilepostError) || error.code !== "shutdown") throw error;
    } finally {
      this.#isPumping = false;
    }
  }

  #send(): void {
    if (this.#isRenewing || this.#isStopped) return;
    const now = performance.now();
    for (const { node, broker, lanes } of this.#topics.led(this.#lanes)) {
      this.sender.send(node, broker, lanes, this.#producer, now);
    }
  }

  get #producer(): Producer {
    return this.#o.standings.producer;
  }

  #answered(lane: Lane, base: number, answer: Answer, time: number): void {
    const now = performance.now();
    if (answer.errorCode >= 0) this.#trouble.heard();
    const { acked, verdict } = lane.forwarding.answered(base, answer);
    this.#acked(lane, acked);
    if (acked.length > 0) {
      lane.progressAt = now;
      lane.ackedTime = time;
      this.#trouble.arrived(lane);
    } else if (answer.errorCode > 0) this.#trouble.refused(lane, answer.errorCode);
    if (verdict !== null) this.#decide(lane, verdict);
  }

  #acked(lane: Lane, acked: { to: number; shift: number | null }[]): void {
    for (const { to, shift } of acked) {
      this.#news.push({ topic: lane.topic, partition: lane.partition, to, shift });
    }
  }

  #decide(lane: Lane, verdict: Verdict): void {
    this.counts.retries++;
    lane.reread();
    lane.retryAt = performance.now() + limits.clusterRetryMsMin;
    if (verdict === "again") this.#topics.soon();
    if (verdict === "fenced") void this.#renew("its own was taken");
    if (verdict === "refused") {
      lane.retryAt = performance.now() + limits.uplinkRefusedMs;
      const { topic, partition, forwarding } = lane;
      const error = `the cluster refuses it, Kafka's error ${forwarding.refusal}`;
      const line = `uplink: ${topic}/${partition}: ${error}`;
      if (!this.#said.has(line)) this.#o.report(`${line}; see docs/uplink.md`);
      this.#said.add(line);
    }
  }

  /** A batch was removed or lost here before it was sent: the sequence goes on without it. */
  #gap(lane: Lane, base: number): void {
    const { topic, partition, forwarding } = lane;
    this.#o.report(`uplink: ${topic}/${partition} goes on at ${base}, was at ${forwarding.next}`);
    forwarding.goOnAt(base);
    this.#news.push({ topic, partition, to: base, shift: null });
    void this.#saveThenGoOn([lane]);
  }

  // --- what arrived ---

  #told(lane: Lane, lastSequence: number | null): void {
    const { topic, partition, forwarding } = lane;
    this.counts.asked++;
    const { acked, changed, lost, isForeign } = forwarding.told(lastSequence, lane.highWatermark);
    if (isForeign) void this.#renew(`${topic}/${partition} has what was not sent from here`);
    if (lost > 0) {
      this.#o.report(`uplink: ${topic}/${partition}: this log lost ${lost} records that are there`);
    }
    this.#acked(lane, acked);
    lane.reread();
    lane.isSaving ||= changed;
    if (changed) this.#changed.add(lane);
  }

  async #saveThenGoOn(lanes: Lane[]): Promise<void> {
    for (const lane of lanes) lane.isSaving = true;
    if (lanes.length > 0) await this.#saved();
    for (const lane of lanes) lane.isSaving = false;
    void this.#pump();
  }

  /** Somebody else has this producer's id: another one, once nothing is on its way. */
  async #renew(why: string): Promise<void> {
    if (this.#isRenewing) return;
    this.#isRenewing = true;
    while (!this.#isStopped) {
      try {
        while (this.#lanes.some(({ forwarding }) => forwarding.inFlight > 0)) await sleep(50);
        const producer = await this.#o.target.newProducer();
        for (const { forwarding } of this.#lanes) {
          forwarding.renew();
          forwarding.unsure();
        }
        const { standings, home, report } = this.#o;
        Object.assign(standings, { producer, home });
        await this.#saved();
        report(`uplink: goes on under a new producer id: ${why}`);
        break;
      } catch (error) {
        this.#silent(error);
        await sleep(limits.clusterRetryMsMax);
      }
    }
    for (const lane of this.#lanes) lane.reread();
    this.#isRenewing = false;
    void this.#pump();
  }

  // --- news ---

  #tick(): void {
    const { trouble } = this;
    const before = this.#troubleTold;
    if ((trouble === "") !== (before === "")) {
      this.#o.report(trouble === "" ? "uplink: goes on" : `uplink: ${trouble}; trying again`);
    }
    if (trouble !== before) this.#o.changed(trouble);
    this.#troubleTold = trouble;
    this.#tell(true);
    void this.#pump();
  }

  #tell(always = false): void {
    if (this.#news.length === 0 && !always) return;
    const rows = this.#news;
    this.#news = [];
    this.#o.log.call("mirrored", rows, this.trouble !== "").catch(() => {});
  }

  #silent(error: unknown): void {
    this.#trouble.silent(error);
    this.#topics.soon();
  }

  /** False: the disk is full. */
  #save(): Promise<boolean> {
    const { file, standings } = this.#o;
    for (const { topic, partition, forwarding } of this.#lanes) {
      standings.topics[topic].partitions[partition] = forwarding.standing;
    }
    return file.write(standings);
  }

  /** On disk when it resolves, unless the stop came first; a full disk is waited for. */
  async #saved(): Promise<void> {
    while (!(await this.#save()) && !this.#isStopped) await sleep(limits.uplinkSaveMs);
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
