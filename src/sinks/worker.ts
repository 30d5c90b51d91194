/**
 * The worker: takes partitions from its group, reads them from where the table is, and writes what
 * it reads in bulk. One batch is written while the next is read; nothing else waits in memory, but
 * what a target holds back. What fails for now is tried again, for as long as it takes.
 */
import { ListOffsetTimestamps, type BaseOptions } from "@platformatic/kafka";
import { endOffset, maxTimestamp, recordCount } from "../batch/header.ts";
import { atMost } from "../lib/at-most.ts";
import { limits } from "../model/limits.ts";
import { Backoff } from "../uplink/backoff.ts";
import { parseNote } from "./commit-note.ts";
import { DeadLetters } from "./dead-letters.ts";
import { isTemporary, reasonOf } from "../uplink/kafka-errors.ts";
import type { Assignment } from "../uplink/membership.ts";
import { Member } from "./member.ts";
import type { Progress } from "./progress.ts";
import { Source } from "./source.ts";
import type { Safe, Slice, Taken, Target, TopicPartition, Written } from "./target.ts";
import { placeOf, SinkFailure } from "./target.ts";

/** A gateway that does not answer is not waited for at the end. */
const closeMs = 2000;

export type WorkerOptions = {
  kafka: BaseOptions;
  group: string;
  topics: string[];
  target: Target;
  progress: Progress;
  say: (line: string) => void;
};

export class Worker {
  readonly #options: WorkerOptions;
  readonly #member: Member;
  readonly #source: Source;
  readonly #deadLetters: DeadLetters;
  readonly #backoff = new Backoff();
  /** What the group gave us, until it is opened. */
  #assignment: Assignment | null = null;
  #opened: Assignment | null = null;
  #stopping = false;
  #changed = Promise.withResolvers<void>();
  #failure: Error | null = null;

  constructor(options: WorkerOptions) {
    const { kafka, group, topics, target, say } = options;
    this.#options = options;
    this.#member = new Member(kafka, group, topics, {
      assigned: (assignment) => this.#assign(assignment),
      revoked: () => this.#assign(null),
      failed: (error) => this.#fail(error),
      say,
    });
    this.#source = new Source(this.#member.consumer, kafka, {
      say,
      changed: (what) => this.#rejoin(what),
      startOver: (place) => target.startOver(place),
    });
    this.#deadLetters = new DeadLetters(kafka);
  }

  /** Until `stop`, or a failure that trying again cannot help. */
  async run(): Promise<void> {
    try {
      void this.#member.join();
      while (!this.#stopping) await this.#turn();
    } catch (error) {
      this.#failure ??= error as Error;
    }
    await this.#end();
    if (this.#failure !== null) throw this.#failure;
  }

  /** The batch in flight is finished, or given up when it takes too long. */
  stop(): void {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#wake();
    this.#source.wake();
    const late = setTimeout(() => void this.#options.target.close(true), limits.sinkDrainMsMax);
    late.unref();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #assign(assignment: Assignment | null): void {
    this.#assignment = assignment;
    this.#source.assign(null);
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.stop();
  }

  async #turn(): Promise<void> {
    const assignment = this.#assignment;
    if (assignment === null) return this.#changed.promise;
    if (assignment !== this.#opened) {
      await this.#open(assignment);
      return;
    }
    const answer = await this.#source.next();
    if (answer === null) return;
    this.#options.progress.seen(answer.highWatermarks);
    for (const batch of cut(answer.slices)) {
      if (assignment !== this.#assignment || this.#stopping) return;
      await this.#write(batch, assignment);
    }
    if (answer.slices.length === 0) await this.#publish(assignment);
  }

  async #open(assignment: Assignment): Promise<void> {
    const { target, progress, group, say } = this.#options;
    const positions = await this.#patiently(assignment, async () => {
      const { taken, ends } = await this.#bounds(assignment);
      // without any a target lets go of what it holds back, and a database need not be asked
      const nothing = taken.length === 0 && target.publish === undefined;
      const opened = nothing ? [] : await target.open(taken);
      if (opened.some((position) => position.next > endOfPlace(ends, position))) {
        // another worker may have written meanwhile what came meanwhile
        for (const [place, end] of (await this.#bounds(assignment)).ends) ends.set(place, end);
      }
      for (const position of opened) {
        const end = endOfPlace(ends, position);
        if (position.next > end) throw this.#source.beyondEnd(position, end);
      }
      progress.seen(ends);
      return opened;
    });
    if (positions === null) return;
    const notes = await this.#member.notes(assignment);
    if (assignment !== this.#assignment) return;
    progress.begin(
      positions.map(({ topic, partition, next, safe = next }) => {
        const note = parseNote(notes.get(placeOf({ topic, partition })));
        return { topic, partition, next: safe, note };
      }),
    );
    void this.#member.commit(progress.offsets());
    this.#opened = assignment;
    this.#source.assign(positions);
    say(`${group} has ${positions.length} partitions, ${progress.lag} records to write`);
  }

  async #bounds(assignment: Assignment): Promise<{ taken: Taken[]; ends: Map<string, number> }> {
    const { consumer } = this.#member;
    const topics = assignment.map(({ topic }) => topic);
    const ends = new Map<string, number>();
    const taken: Taken[] = [];
    if (topics.length === 0) return { taken, ends };
    const metadata = await consumer.metadata({ topics, forceUpdate: true });
    const [first, last] = await Promise.all(
      [ListOffsetTimestamps.EARLIEST, ListOffsetTimestamps.LATEST].map((timestamp) =>
        consumer.listOffsets({ topics, timestamp }),
      ),
    );
    for (const { topic, partitions } of assignment) {
      const topicId = metadata.topics.get(topic)?.id;
      if (topicId === undefined) throw new SinkFailure(`topic ${topic} is gone`);
      for (const partition of partitions) {
        const at = (offsets: typeof first): number => Number(offsets.get(topic)?.[partition] ?? 0);
        taken.push({ topic, topicId, partition, first: at(first) });
        ends.set(placeOf({ topic, partition }), at(last));
      }
    }
    return { taken, ends };
  }

  async #write(batch: Slice[], assignment: Assignment): Promise<void> {
    const { target } = this.#options;
    const beganMs = performance.now();
    const written = await this.#patiently(assignment, () =>
      target.write(batch, (letters) => this.#deadLetters.bury(letters)),
    );
    if (written === null) return;
    this.#deadLetters.settled();
    if (written.lost.length > 0) return this.#giveUp(written.lost, assignment);
    if (target.publish !== undefined) return this.#publish(assignment);
    this.#commit(safeOf(batch, written), beganMs);
  }

  async #publish(assignment: Assignment): Promise<void> {
    const { target } = this.#options;
    const beganMs = performance.now();
    const published = await this.#patiently(assignment, async () => target.publish?.(false));
    if (!published) return;
    this.#commit(published.safe, beganMs);
    if (published.lost.length === 0 || assignment !== this.#assignment) return;
    // harmless, as one of two succeeds; whoever is no member any more hears it from the group
    const places = published.lost.map((partition) => placeOf(partition)).join(", ");
    this.#options.say(`${places}: published by another worker; going on from there`);
    this.#opened = null;
    this.#source.assign(null);
  }

  #commit(safe: Safe[], beganMs: number): void {
    if (safe.length === 0) return;
    const nowMs = Date.now();
    const offsets = this.#options.progress.wrote(safe, performance.now() - beganMs, nowMs);
    void this.#member.commit(offsets);
  }

  /** Somebody else has partitions of ours: the group decides who is right. */
  async #giveUp(lost: TopicPartition[], assignment: Assignment): Promise<void> {
    if (assignment !== this.#assignment) return;
    const places = lost.map((partition) => placeOf(partition)).join(", ");
    await this.#rejoin(`${places}: taken by another worker`);
  }

  async #rejoin(why: string): Promise<void> {
    this.#options.say(`${why}; joining the group again`);
    this.#assign(null);
    await this.#member.join();
  }

  /** Tries until it works; null when the assignment has changed, or the worker stops. */
  async #patiently<T>(assignment: Assignment, work: () => Promise<T>): Promise<T | null> {
    const { progress, say } = this.#options;
    for (let troubled = false; ;) {
      try {
        const result = await work();
        this.#backoff.reset();
        if (troubled) say("writing goes on");
        return result;
      } catch (error) {
        if (error instanceof SinkFailure) throw error;
        if (isProgrammer(error)) throw error;
        if (!troubled) say(`writing: ${reasonOf(error)}; trying again`);
        troubled = true;
        progress.retries.value++;
      }
      if (this.#stopping || assignment !== this.#assignment) return null;
      const waited = new Promise<void>((resolve) => setTimeout(resolve, this.#backoff.nextMs()));
      await Promise.race([waited, this.#changed.promise]);
      if (this.#stopping || assignment !== this.#assignment) return null;
    }
  }

  /** What is held back would be read again: one try is enough. */
  async #publishAll(): Promise<void> {
    const { target, say } = this.#options;
    const beganMs = performance.now();
    try {
      this.#commit((await target.publish?.(true))?.safe ?? [], beganMs);
    } catch (error) {
      say(`writing: ${reasonOf(error)}; the next worker writes it`);
    }
  }

  async #end(): Promise<void> {
    const { target, progress } = this.#options;
    if (this.#failure === null) await this.#publishAll();
    await target.close().catch(() => {});
    await this.#member.leave(progress.offsets());
    await atMost(closeMs, Promise.allSettled([this.#source.close(), this.#deadLetters.close()]));
  }
}

function endOfPlace(ends: Map<string, number>, position: TopicPartition): number {
  return ends.get(placeOf(position)) as number;
}

/** Of a target that holds nothing back. */
function safeOf(batch: Slice[], written: Written): Safe[] {
  return batch.map((slice, i) => {
    const last = slice.batches.at(-1);
    return {
      ...slice,
      next: slice.end,
      rows: written.rows[i],
      deadLettered: written.deadLettered[i],
      newestMs: last === undefined ? 0 : maxTimestamp(last),
    };
  });
}

/** Faults of the program, which no retry heals. */
function isProgrammer(error: unknown): boolean {
  if (isTemporary(error)) return false;
  return (
    error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError
  );
}

/** Batches of so many rows at most; a RecordBatch stays whole. */
export function* cut(slices: Slice[]): Generator<Slice[]> {
  let batch: Slice[] = [];
  let rows = 0;
  for (const slice of slices) {
    let part: Slice = { ...slice, batches: [] };
    for (const bytes of slice.batches) {
      const more = recordCount(bytes);
      if (rows > 0 && rows + more > limits.sinkBatchRowsMax) {
        if (part.batches.length > 0) batch.push(part);
        if (batch.length > 0) yield batch;
        const start = part.batches.length > 0 ? part.end : part.start;
        part = { ...slice, start, batches: [] };
        batch = [];
        rows = 0;
      }
      rows += more;
      part.batches.push(bytes);
      part.end = Math.max(part.start, endOffset(bytes));
    }
    if (part.batches.length === 0) part.end = slice.end;
    if (part.end > part.start) batch.push(part);
  }
  if (batch.length > 0) yield batch;
}
