/** Reads a topic's partitions, one answer ahead of who takes them. */
import { ListOffsetTimestamps, type Consumer, type fetchV17 } from "@platformatic/kafka";
import { isTemporary, isUnreachable, reasonOf } from "../uplink/kafka-errors.ts";
import { CommandFailure } from "./failure.ts";
import { patienceMs, retryMs } from "./kafka-client.ts";

type FetchResponse = fetchV17.FetchResponse;
type FetchedPartition = FetchResponse["responses"][number]["partitions"][number];
export type FetchedBatch = NonNullable<FetchedPartition["records"]>[number];

/** Batches of one partition. Of their records those from `from` on and below `end` are wanted. */
export type Chunk = {
  partition: number;
  from: number;
  end: number;
  /** Where to read on. */
  next: number;
  batches: FetchedBatch[];
};

/** `end` is Infinity for a reader that waits for more. */
export type Position = { next: number; end: number };

const OFFSET_OUT_OF_RANGE = 1;
const CORRUPT_MESSAGE = 2;
const UNKNOWN_TOPIC_OR_PARTITION = 3;

/** Some 8 000 records: an answer is printed within a blink. */
const partitionBytesMax = 1024 * 1024;
const answerBytesMax = 8 * 1024 * 1024;
const waitMs = 500;

export class TopicReader {
  readonly #consumer: Consumer;
  readonly #topic: string;
  readonly #tell: (line: string) => void;
  /** The one that was read last stands last: an answer is cut at a size. */
  #positions: Map<number, Position> | null = null;
  #ahead: Promise<Chunk[]> | null = null;
  #changed = Promise.withResolvers<void>();
  #closed = false;
  #troubledSinceMs: number | null = null;

  /** `tell`: what the user should know when reading does not go on as expected. */
  constructor(consumer: Consumer, topic: string, tell: (line: string) => void) {
    this.#consumer = consumer;
    this.#topic = topic;
    this.#tell = tell;
    consumer.topics.track(topic);
  }

  /** What to read from now on; null: nothing until this is known. */
  assign(positions: Map<number, Position> | null): void {
    this.#positions = positions;
    this.#ahead = null;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#wake();
  }

  /** The next records there are; null at the end of every partition, or when closed. */
  async next(): Promise<Chunk[] | null> {
    while (!this.#closed) {
      const positions = this.#positions;
      if (positions !== null && this.#ahead === null) {
        if (open(positions).length === 0) return null;
        this.#lookAhead(positions);
      }
      const chunks = await this.#answer();
      if (chunks === null || positions === null || positions !== this.#positions) continue;
      for (const { partition, next } of chunks) {
        const { end } = positions.get(partition) as Position;
        positions.delete(partition);
        positions.set(partition, { next, end });
      }
      this.#ahead = null;
      if (open(positions).length > 0) this.#lookAhead(positions);
      if (chunks.length > 0) return chunks;
    }
    return null;
  }

  #wake(): void {
    this.#changed.resolve();
  }

  #lookAhead(positions: Map<number, Position>): void {
    this.#ahead = this.#read(positions);
    // whoever takes it hears of its failure
    this.#ahead.catch(() => {});
  }

  /** Of the reading ahead; null when something changed meanwhile, or it failed for now. */
  async #answer(): Promise<Chunk[] | null> {
    const ahead = this.#ahead;
    // one of its own: a race leaves its result with the promise that lost, as long as that lives
    this.#changed = Promise.withResolvers<void>();
    const changed = this.#changed.promise.then(() => null);
    if (ahead === null) return changed;
    try {
      const chunks = await Promise.race([ahead, changed]);
      if (chunks !== null) this.#troubledSinceMs = null;
      return chunks;
    } catch (error) {
      if (this.#ahead === ahead) this.#ahead = null;
      if (!this.#closed) await this.#troubled(error);
      return null;
    }
  }

  /** From every node that leads partitions of ours. */
  async #read(positions: Map<number, Position>): Promise<Chunk[]> {
    const { topics } = await this.#consumer.metadata({ topics: [this.#topic] });
    const topic = topics.get(this.#topic);
    if (topic === undefined) throw new CommandFailure(`${this.#topic} is gone`);
    const byNode = Map.groupBy(open(positions), ([p]) => topic.partitions[p]?.leader ?? -1);
    const answers = [...byNode].map(async ([node, wanted]) => {
      const chunks: Chunk[] = [];
      const answer = await this.#fetch(node, topic.id, wanted);
      for (const fetched of answer.responses.flatMap(({ partitions }) => partitions)) {
        const position = positions.get(fetched.partitionIndex);
        if (position === undefined) continue;
        const chunk = await this.#take(fetched, position);
        if (chunk !== null) chunks.push(chunk);
      }
      return chunks;
    });
    return (await Promise.all(answers)).flat();
  }

  /** An answer in which a partition has an error is thrown, with the others' records in it. */
  async #fetch(
    node: number,
    topicId: string,
    positions: [number, Position][],
  ): Promise<FetchResponse> {
    const partitions = positions.map(([partition, { next }]) => ({
      partition,
      fetchOffset: BigInt(next),
      partitionMaxBytes: partitionBytesMax,
      currentLeaderEpoch: -1,
      lastFetchedEpoch: -1,
    }));
    const sizes = { minBytes: 1, maxBytes: answerBytesMax, maxWaitTime: waitMs };
    try {
      return await this.#consumer.fetch({ node, ...sizes, topics: [{ topicId, partitions }] });
    } catch (error) {
      const { response } = error as { response?: FetchResponse };
      if (response === undefined || response.errorCode !== 0) throw error;
      return response;
    }
  }

  async #take(fetched: FetchedPartition, position: Position): Promise<Chunk | null> {
    const { partitionIndex: partition, errorCode } = fetched;
    const { next: from, end } = position;
    if (errorCode === OFFSET_OUT_OF_RANGE) return this.#moved(partition, position);
    if (errorCode !== 0) throw this.#refusal(partition, from, errorCode);
    const batches = fetched.records ?? [];
    const last = batches.at(-1);
    if (last === undefined) return null;
    const next = Math.max(from, Number(last.firstOffset) + last.lastOffsetDelta + 1);
    return { partition, from, end, next, batches };
  }

  /** The log no longer has this offset, or not yet. */
  async #moved(partition: number, { next, end }: Position): Promise<Chunk> {
    const first = await this.#offset(partition, ListOffsetTimestamps.EARLIEST);
    const last = await this.#offset(partition, ListOffsetTimestamps.LATEST);
    const place = `${this.#topic}/${partition}`;
    this.#tell(`${place} has no offset ${next}: it begins at ${first} and ends at ${last}`);
    const to = next < first ? first : last;
    return { partition, from: to, end, next: to, batches: [] };
  }

  async #offset(partition: number, timestamp: bigint): Promise<number> {
    const topic = this.#topic;
    const partitions = { [topic]: [partition] };
    const offsets = await this.#consumer.listOffsets({ topics: [topic], partitions, timestamp });
    return Number(offsets.get(topic)?.[partition]);
  }

  #refusal(partition: number, offset: number, code: number): Error {
    const place = `${this.#topic}/${partition}`;
    if (code === CORRUPT_MESSAGE) {
      return new CommandFailure(
        `${place}: the bytes at offset ${offset} fail their checksum; ` +
          `\`milepost topics skip-damage ${place} --yes\` lets readers pass over them`,
      );
    }
    if (code === UNKNOWN_TOPIC_OR_PARTITION) return new CommandFailure(`${place} is gone`);
    // leadership moves, or a disk was full: the next answer will tell
    return new TryAgain(`${place}: Kafka error ${code}`);
  }

  /** Waits a moment where trying again may help, and throws where it does not. */
  async #troubled(error: unknown): Promise<void> {
    if (!(error instanceof TryAgain) && !isTemporary(error)) throw error;
    const now = performance.now();
    if (this.#troubledSinceMs === null) {
      this.#troubledSinceMs = now;
      if (isUnreachable(error)) this.#tell(`no answer (${reasonOf(error)}); trying again`);
    }
    if (now - this.#troubledSinceMs > patienceMs) {
      throw new CommandFailure(`${this.#topic}: given up, ${reasonOf(error)}`);
    }
    this.#consumer.clearMetadata();
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

class TryAgain extends Error {}

function open(positions: Map<number, Position>): [number, Position][] {
  return [...positions].filter(([, { next, end }]) => next < end);
}
