/**
 * A Kafka cluster as a target: records keep their partition, key, time and headers, and each gets
 * its offset as one header more. The target's last record is all that says where to go on.
 *
 * Who takes a partition goes on as the producer that wrote its last record, at its next sequence
 * number. So an append of the worker before that comes late, or of one that stands still, meets a
 * sequence that is used: the target drops it, or refuses it and the worker looks again. That holds
 * while a number stands for the same record with everybody: after what is not so with all (a dead
 * letter, records deleted unread, a compacted topic) comes a producer of its own.
 */
import type { BaseOptions } from "@platformatic/kafka";
import { BatchBuilder, type BatchProducer } from "../batch/builder.ts";
import { mapSome } from "../lib/map-some.ts";
import { E } from "../wire/errors.ts";
import { MirrorCluster, nameOf } from "./mirror-cluster.ts";
import { mirrorEnd } from "./mirror-end.ts";
import { advance, type Chunk, Lane } from "./mirror-lane.ts";
import { type MirrorTopic, mirrorTopics } from "./mirror-topics.ts";
import type { Bury, DeadLetter, Opened, Slice, Taken, Target, Written } from "./target.ts";
import { placeOf, type TopicPartition } from "./target.ts";

export type MirrorOptions = {
  /** How the target is reached, and how the gateway is. */
  target: BaseOptions;
  source: BaseOptions;
  say(line: string): void;
};

/** Of a partition that is ours. */
type Held = { topic: MirrorTopic; producer: BatchProducer | null };

/** Something in the batch is not for this target. */
const unfit = new Set<number>([
  E.MESSAGE_TOO_LARGE,
  E.RECORD_LIST_TOO_LARGE,
  E.INVALID_TIMESTAMP,
  E.INVALID_RECORD,
]);
/** Somebody else went on, or the target forgot who we are: its end tells. */
const contested = new Set<number>([
  E.OUT_OF_ORDER_SEQUENCE_NUMBER,
  E.DUPLICATE_SEQUENCE_NUMBER,
  E.INVALID_PRODUCER_EPOCH,
  E.INVALID_PRODUCER_ID_MAPPING,
  E.UNKNOWN_PRODUCER_ID,
]);
const looksAtOnce = 8;

export class Mirror implements Target {
  readonly #options: MirrorOptions;
  readonly #held = new Map<string, Held>();
  /** Grown once, used for batch after batch. */
  readonly #builders: BatchBuilder[] = [];
  #cluster: MirrorCluster | null = null;
  /** The batch that is being written: what of it is in stays in when a try fails. */
  #batch: { slices: Slice[]; lanes: Lane[]; lost: Set<Lane> } | null = null;

  constructor(options: MirrorOptions) {
    this.#options = options;
  }

  async open(partitions: Taken[]): Promise<Opened[]> {
    this.#held.clear();
    this.#batch = null;
    const { source, say } = this.#options;
    const names = [...new Set(partitions.map(({ topic }) => topic))];
    return this.#attempt(async (cluster) => {
      const topics = await mirrorTopics(cluster, source, names, say);
      return mapSome(partitions, looksAtOnce, async ({ first, ...place }) => {
        const end = await mirrorEnd(cluster, place.topic, place.partition);
        const topic = topics.get(place.topic) as MirrorTopic;
        this.#held.set(placeOf(place), { topic, producer: heirOf(topic, end?.producer) });
        return { ...place, next: end?.next ?? first };
      });
    });
  }

  async write(slices: Slice[], bury: Bury): Promise<Written> {
    if (this.#batch?.slices !== slices) {
      const lanes = slices.map((slice, i) => {
        const builder = (this.#builders[i] ??= new BatchBuilder());
        return new Lane(slice, this.#heldOf(slice).topic.bytesMax, builder);
      });
      this.#batch = { slices, lanes, lost: new Set() };
    }
    const { lanes, lost } = this.#batch;
    return this.#attempt(async (cluster) => {
      for (;;) {
        const open = lanes.filter((lane) => !lane.done && !lost.has(lane));
        if (open.length === 0) break;
        await this.#round(cluster, open, lost, bury);
      }
      this.#batch = null;
      return {
        lost: [...lost].map(({ slice }) => slice),
        rows: lanes.map(({ rows }) => rows),
        deadLettered: lanes.map(({ deadLettered }) => deadLettered),
      };
    });
  }

  startOver({ topic }: TopicPartition): string {
    return `delete topic ${topic} in the target, or mirror into another cluster`;
  }

  async close(): Promise<void> {
    const cluster = this.#cluster;
    this.#cluster = null;
    await cluster?.close();
  }

  /** Any failure ends the connections: a peer that went silent is not asked again. */
  async #attempt<T>(work: (cluster: MirrorCluster) => Promise<T>): Promise<T> {
    const cluster = (this.#cluster ??= new MirrorCluster(this.#options.target));
    try {
      return await work(cluster);
    } catch (error) {
      if (this.#cluster === cluster) this.#cluster = null;
      void cluster.close();
      throw cluster.failure(error);
    }
  }

  #heldOf(place: TopicPartition): Held {
    const held = this.#held.get(placeOf(place));
    if (held === undefined) throw new Error(`${placeOf(place)} was never opened`);
    return held;
  }

  /** One batch of each. */
  async #round(cluster: MirrorCluster, lanes: Lane[], lost: Set<Lane>, bury: Bury): Promise<void> {
    const sent = new Map<string, Lane>();
    const letters = new Map<Lane, DeadLetter>();
    for (const lane of await this.#filled(cluster, lanes, letters)) {
      sent.set(placeOf(lane.slice), lane);
    }
    const batches = [...sent.values()].map(({ slice: { topic, partition }, chunk }) => {
      return { topic, partition, batch: (chunk as Chunk).bytes };
    });
    const { answers, trouble } = await cluster.produce(batches);
    let failure = trouble;
    const doubtful: Lane[] = [];
    for (const { topic, partition, errorCode } of answers) {
      const lane = sent.get(placeOf({ topic, partition })) as Lane;
      if (errorCode === E.NONE) this.#accept(lane);
      else if (contested.has(errorCode)) doubtful.push(lane);
      else if (unfit.has(errorCode)) {
        const letter = lane.refused(nameOf(errorCode));
        if (letter !== null) letters.set(lane, letter);
      } else failure ??= cluster.refusal(placeOf({ topic, partition }), errorCode);
    }
    for (const lane of doubtful) await this.#lookAgain(cluster, lane, lost);
    if (letters.size > 0) await bury([...letters.values()]);
    for (const lane of letters.keys()) {
      lane.buried();
      this.#heldOf(lane.slice).producer = null;
    }
    if (failure !== null) throw failure;
  }

  /** Those that have a batch to send; what none takes is a letter. */
  async #filled(
    cluster: MirrorCluster,
    lanes: Lane[],
    letters: Map<Lane, DeadLetter>,
  ): Promise<Lane[]> {
    let fresh: BatchProducer | null = null;
    const filled: Lane[] = [];
    for (const lane of lanes) {
      const held = this.#heldOf(lane.slice);
      if (lane.slice.batches.length === 0) held.producer = null;
      if (lane.chunk === null) {
        if (held.producer === null) {
          fresh ??= await cluster.newProducer();
          held.producer = { ...fresh };
        }
        const next = lane.fill(held.producer);
        if (next !== null && "reason" in next) letters.set(lane, next);
      }
      if (lane.chunk !== null) filled.push(lane);
    }
    return filled;
  }

  #accept(lane: Lane): void {
    advance(this.#heldOf(lane.slice).producer as BatchProducer, (lane.chunk as Chunk).records);
    lane.accepted();
  }

  async #lookAgain(cluster: MirrorCluster, lane: Lane, lost: Set<Lane>): Promise<void> {
    const held = this.#heldOf(lane.slice);
    const { topic, partition } = lane.slice;
    const end = await mirrorEnd(cluster, topic, partition);
    // where nobody wrote it is the number that the target does not know
    const next = end?.next ?? lane.next;
    held.producer = next === lane.next ? null : heirOf(held.topic, end?.producer);
    if (next >= lane.next && next <= lane.slice.end) lane.goOn(next);
    else lost.add(lane);
  }
}

/** Who may be gone on as. */
function heirOf(topic: MirrorTopic, producer: BatchProducer | null = null): BatchProducer | null {
  return topic.dense ? producer : null;
}
