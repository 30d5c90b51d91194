/**
 * Reads partitions from given offsets on, one answer ahead of who takes them: what waits is bounded
 * by two answers, and a slow database is not read for.
 */
import { endOffset } from "../batch/header.ts";
import { ListOffsetTimestamps } from "@platformatic/kafka";
import type { BaseOptions, ClusterMetadata, Consumer } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { type FetchedPartition, RawFetch } from "../uplink/raw-fetch.ts";
import { Backoff } from "../uplink/backoff.ts";
import { isTemporary, reasonOf } from "../uplink/kafka-errors.ts";
import { placeOf, SinkFailure, type Slice, type TopicPartition } from "./target.ts";
import { E } from "../wire/errors.ts";

export type Position = TopicPartition & { next: number };

/** What is there to be written, and how far each partition goes beyond. */
export type Answer = { slices: Slice[]; highWatermarks: Map<string, number> };

/** `startOver`: how a partition is written from its beginning, for an operator to do. */
export type SourceEvents = {
  say(line: string): void;
  /** A topic is not what it was; whose its partitions are the group has to say. */
  changed(what: string): void;
  startOver(partition: TopicPartition): string;
};

export class Source {
  readonly #consumer: Consumer;
  readonly #fetch: RawFetch;
  readonly #events: SourceEvents;
  readonly #backoff = new Backoff();
  /** Partitions by topic. */
  readonly #counts = new Map<string, number>();
  /** By place; the one that was read last stands last: an answer is cut at a size. */
  #positions: Map<string, Position> | null = null;
  #ahead: Promise<Answer> | null = null;
  #changed = Promise.withResolvers<null>();
  #closed = false;
  #troubled = false;

  constructor(consumer: Consumer, options: BaseOptions, events: SourceEvents) {
    this.#consumer = consumer;
    this.#fetch = new RawFetch(options);
    this.#events = events;
  }

  /** What to read from now on; null: nothing. An answer that is awaited comes to nothing. */
  assign(positions: Position[] | null): void {
    this.#positions = positions && new Map(positions.map((p) => [placeOf(p), { ...p }]));
    this.#ahead = null;
    this.wake();
  }

  /** Whoever awaits an answer gets null. */
  wake(): void {
    this.#changed.resolve(null);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.wake();
    await this.#fetch.close();
  }

  /** The next records; null when something else is to be looked at. */
  async next(): Promise<Answer | null> {
    const positions = this.#positions;
    // one of its own: a race leaves its result with the promise that lost, as long as that lives
    this.#changed = Promise.withResolvers<null>();
    const changed = this.#changed.promise;
    if (positions === null || positions.size === 0) return changed;
    this.#ahead ??= this.#lookAhead(positions);
    let answer: Answer | null;
    try {
      answer = await Promise.race([this.#ahead, changed]);
    } catch (error) {
      if (positions === this.#positions) this.#ahead = null;
      await this.#wait(error);
      return null;
    }
    if (answer === null || positions !== this.#positions) return null;
    if (this.#troubled) this.#events.say("reading goes on");
    this.#troubled = false;
    this.#backoff.reset();
    for (const { topic, partition, topicId, end } of answer.slices) {
      const place = placeOf({ topic, partition });
      positions.delete(place);
      positions.set(place, { topic, topicId, partition, next: end });
    }
    this.#ahead = this.#lookAhead(positions);
    return answer;
  }

  #lookAhead(positions: Map<string, Position>): Promise<Answer> {
    const ahead = this.#read(positions);
    // whoever takes it hears of its failure
    ahead.catch(() => {});
    return ahead;
  }

  /** From every node that leads partitions of ours. */
  async #read(positions: Map<string, Position>): Promise<Answer> {
    const names = [...new Set([...positions.values()].map(({ topic }) => topic))];
    const metadata = await this.#consumer.metadata({ topics: names, metadataMaxAge: 5000 });
    if (positions === this.#positions) this.#compare(positions, metadata.topics);
    const byNode = Map.groupBy(positions.values(), ({ topic, topicId, partition }) => {
      const found = metadata.topics.get(topic);
      if (found === undefined) throw new SinkFailure(`topic ${topic} is gone`);
      if (found.id !== topicId) throw new TryAgain(`topic ${topic} was made anew`);
      return found.partitions[partition]?.leader ?? -1;
    });
    const answer: Answer = { slices: [], highWatermarks: new Map() };
    const nodes = [...byNode].map(async ([node, wanted]) => {
      const broker = metadata.brokers.get(node);
      if (broker === undefined) throw new TryAgain("a partition has no leader");
      for (const fetched of await this.#fetchFrom(broker, wanted)) {
        const position = positions.get(placeOf(fetched));
        if (position === undefined) continue;
        answer.highWatermarks.set(placeOf(fetched), fetched.highWatermark);
        const slice = await this.#slice(fetched, position);
        if (slice !== null) answer.slices.push(slice);
      }
    });
    await Promise.all(nodes);
    return answer;
  }

  #compare(positions: Map<string, Position>, topics: ClusterMetadata["topics"]): void {
    const anew = [...positions.values()].find(({ topic, topicId }) => {
      return (topics.get(topic)?.id ?? topicId) !== topicId;
    });
    if (anew !== undefined) this.#events.changed(`topic ${anew.topic} was made anew`);
    for (const [topic, { partitionsCount: count }] of topics) {
      const known = this.#counts.get(topic) ?? count;
      this.#counts.set(topic, Math.max(count, known));
      if (count > known) this.#events.changed(`topic ${topic} has ${count} partitions now`);
    }
  }

  #fetchFrom(
    broker: { host: string; port: number },
    wanted: Position[],
  ): Promise<FetchedPartition[]> {
    const topics = [...Map.groupBy(wanted, ({ topic }) => topic)].map(([topic, own]) => ({
      topic,
      partitions: own.map(({ partition, next }) => ({ partition, offset: next })),
    }));
    return this.#fetch.fetch(broker, {
      waitMs: limits.sinkGatherMs,
      bytesMin: limits.sinkGatherBytes,
      bytesMax: limits.sinkFetchBytes,
      partitionBytesMax: limits.sinkPartitionBytes,
      topics,
    });
  }

  async #slice(fetched: FetchedPartition, position: Position): Promise<Slice | null> {
    const { topic, topicId, partition, next: start } = position;
    const { errorCode } = fetched;
    if (errorCode === E.OFFSET_OUT_OF_RANGE) return this.#moved(position);
    if (errorCode !== 0) throw this.#refusal(position, errorCode);
    const last = fetched.batches.at(-1);
    if (last === undefined) return null;
    const end = Math.max(start, endOffset(last));
    return { topic, topicId, partition, start, end, batches: fetched.batches };
  }

  /** Records that the log gave up before they were read are passed over, and that is said. */
  async #moved(position: Position): Promise<Slice> {
    const [first, last] = await Promise.all([
      this.offset(position, ListOffsetTimestamps.EARLIEST),
      this.offset(position, ListOffsetTimestamps.LATEST),
    ]);
    const { next: start } = position;
    if (start > last) throw this.beyondEnd(position, last);
    const place = placeOf(position);
    if (start >= first) throw new TryAgain(`${place}: offset ${start} is out of range`);
    this.#events.say(
      `${place}: offsets ${start} to ${first - 1} were deleted before they were read`,
    );
    const { topic, topicId, partition } = position;
    return { topic, topicId, partition, start, end: first, batches: [] };
  }

  async offset({ topic, partition }: TopicPartition, timestamp: bigint): Promise<number> {
    const partitions = { [topic]: [partition] };
    const offsets = await this.#consumer.listOffsets({ topics: [topic], partitions, timestamp });
    return Number(offsets.get(topic)?.[partition]);
  }

  beyondEnd(position: Position, end: number): SinkFailure {
    return new SinkFailure(
      `${placeOf(position)} ends at ${end}, and there are rows up to ${position.next}: this is ` +
        "another log, or an older copy of it. To write it from its beginning: " +
        this.#events.startOver(position),
    );
  }

  #refusal(position: Position, code: number): Error {
    const place = placeOf(position);
    if (code === E.CORRUPT_MESSAGE) {
      return new SinkFailure(
        `${place}: the bytes at offset ${position.next} fail their checksum; ` +
          `\`milepost topics skip-damage ${place} --yes\` lets readers pass over them`,
      );
    }
    if (code === E.UNKNOWN_TOPIC_OR_PARTITION) this.#consumer.clearMetadata();
    return new TryAgain(`${place}: Kafka error ${code}`);
  }

  /** Where trying again may help; else throws. */
  async #wait(error: unknown): Promise<void> {
    if (this.#closed) return;
    if (!(error instanceof TryAgain) && !isTemporary(error)) throw error;
    if (!this.#troubled) this.#events.say(`reading: ${reasonOf(error)}; trying again`);
    this.#troubled = true;
    this.#consumer.clearMetadata();
    const waited = new Promise((resolve) => setTimeout(resolve, this.#backoff.nextMs()));
    await Promise.race([waited, this.#changed.promise]);
  }
}

class TryAgain extends Error {}
