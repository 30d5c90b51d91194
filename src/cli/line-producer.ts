/** Sends lines as records, a batch at a time, and knows how many of them are in the topic. */
import { ProduceAcks, Producer, type BaseOptions } from "@platformatic/kafka";
import { partitionOf } from "../partitions/murmur2.ts";
import { codeOf, isUnreachable, reasonOf } from "../uplink/kafka-errors.ts";

export type NewLine = { line: number; key: Buffer | undefined; value: Buffer };

/** Of one node's answer, as far as it is looked at. */
type Answer = { responses: { partitionResponses: { index: number; errorCode: number }[] }[] };

/** Well below the largest batch a topic takes, also where all lines go to one partition. */
const batchBytesMax = 256 * 1024;
const batchLinesMax = 4000;

const MESSAGE_TOO_LARGE = 10;
const RECORD_LIST_TOO_LARGE = 18;
const TOPIC_AUTHORIZATION_FAILED = 29;

export class LineProducer {
  readonly #producer: Producer;
  readonly #topic: string;
  readonly #partitions: number;
  readonly #partition: number | undefined;
  readonly #headers: Map<Buffer, Buffer> | undefined;
  #batch: NewLine[] = [];
  #batchBytes = 0;
  /** Lines without a key stay together in a batch; the next one goes elsewhere. */
  #spread = Math.floor(Math.random() * 1_000_000);
  #sending: Promise<void> | null = null;
  #failure: Error | null = null;
  /** Lines that are in the topic. */
  acked = 0;
  /** Of a request that was never answered: they may be in, too. */
  unknown = 0;

  constructor(
    options: BaseOptions,
    topic: string,
    to: {
      partitions: number;
      partition: number | undefined;
      headers: [string, string][];
    },
  ) {
    // sent again, a batch is known to be there already
    this.#producer = new Producer({ ...options, idempotent: true, acks: ProduceAcks.ALL });
    this.#topic = topic;
    this.#partitions = to.partitions;
    this.#partition = to.partition;
    const headers = to.headers.map(([name, value]) => [Buffer.from(name), Buffer.from(value)]);
    if (headers.length > 0) this.#headers = new Map(headers as [Buffer, Buffer][]);
  }

  /** Resolves when there is room for the next one. Throws when an earlier one failed. */
  async add(line: NewLine): Promise<void> {
    const bytes = (line.key?.length ?? 0) + line.value.length;
    const full = this.#batch.length >= batchLinesMax || this.#batchBytes + bytes > batchBytesMax;
    if (full && this.#batch.length > 0) {
      await this.#sending;
      this.send();
    }
    if (this.#failure !== null) throw this.#failure;
    this.#batch.push(line);
    this.#batchBytes += bytes;
  }

  /** Sends what was added, unless a batch is on its way: then it grows until that is in. */
  send(): void {
    if (this.#batch.length === 0 || this.#sending !== null || this.#failure !== null) return;
    const lines = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#sending = this.#send(lines).finally(() => {
      this.#sending = null;
      this.send();
    });
  }

  /** Resolves once all that was added is in the topic. */
  async flush(): Promise<void> {
    this.send();
    while (this.#sending !== null) await this.#sending;
    if (this.#failure !== null) throw this.#failure;
  }

  close(): Promise<void> {
    return this.#producer.close(true);
  }

  async #send(lines: NewLine[]): Promise<void> {
    const elsewhere = this.#spread++ % this.#partitions;
    const messages = lines.map(({ key, value }) => ({
      topic: this.#topic,
      partition: this.#partition ?? this.#partitionOf(key) ?? elsewhere,
      key,
      value,
      headers: this.#headers,
    }));
    try {
      await this.#producer.send({ messages });
      this.acked += lines.length;
    } catch (error) {
      this.#count(
        error,
        messages.map(({ partition }) => partition),
      );
      this.#failure = new Error(why(error, lines));
    }
  }

  #partitionOf(key: Buffer | undefined): number | undefined {
    return key && partitionOf(key, 0, key.length, this.#partitions);
  }

  /** Some partitions of a request may have taken their lines where others refused theirs. */
  #count(error: unknown, partitions: number[]): void {
    const answers = responsesIn(error).flatMap(({ responses }) =>
      responses.flatMap(({ partitionResponses }) => partitionResponses),
    );
    const taken = new Set(answers.filter((a) => a.errorCode === 0).map((a) => a.index));
    const acked = partitions.filter((partition) => taken.has(partition)).length;
    this.acked += acked;
    if (answers.length === 0 && isUnreachable(error)) this.unknown += partitions.length;
  }
}

function responsesIn(error: unknown): Answer[] {
  const { response, errors = [] } = error as { response?: Answer; errors?: unknown[] };
  return response === undefined ? errors.flatMap(responsesIn) : [response];
}

function why(error: unknown, lines: NewLine[]): string {
  const code = codeOf(error);
  if (code === MESSAGE_TOO_LARGE || code === RECORD_LIST_TOO_LARGE) {
    const bytes = ({ key, value }: NewLine): number => (key?.length ?? 0) + value.length;
    const largest = lines.reduce((a, b) => (bytes(a) >= bytes(b) ? a : b));
    return `line ${largest.line} with its ${bytes(largest)} bytes is more than max.message.bytes`;
  }
  if (code === TOPIC_AUTHORIZATION_FAILED) return "the topic takes no records from outside";
  return reasonOf(error);
}
