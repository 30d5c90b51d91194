/**
 * Kafka's Produce through the client library's connections, of RecordBatches that are ready as
 * bytes: what the log holds goes out as it is. Always acks=all.
 */
import {
  ConnectionPool,
  createAPI,
  Writer,
  type BaseOptions,
  type Broker,
  type Reader,
} from "@platformatic/kafka";

/** One batch a partition and request. */
export type ProduceBatch = { topic: string; partition: number; batch: Uint8Array };

export type ProducedPartition = {
  topic: string;
  partition: number;
  errorCode: number;
  /** Of the batch's first record; -1 where it failed, or where a duplicate is long gone. */
  baseOffset: number;
  /** -1: the topic keeps the time of creation. */
  logAppendTimeMs: number;
  logStartOffset: number;
};

const PRODUCE = 0;
/** The newest that Redpanda has too: Kafka since 2.1, and batches of any compression. */
const VERSION = 7;
const ACKS_ALL = -1;

const api = createAPI<[number, ProduceBatch[]], ProducedPartition[]>(
  PRODUCE,
  VERSION,
  requestOf,
  (_correlation, _key, _version, reader) => answerOf(reader),
  false,
  false,
);

export class RawProduce {
  readonly #pool: ConnectionPool;

  /** Connections of its own: a produce that waits for replicas would hold up heartbeats. */
  constructor(options: BaseOptions) {
    const { clientId, connectTimeout, requestTimeout, maxInflights } = options;
    this.#pool = new ConnectionPool(clientId, { connectTimeout, requestTimeout, maxInflights });
  }

  /**
   * Rejects when the connection or the time ends; a partition's own failure is in its answer.
   * Requests to a broker leave in the order of the calls once it is connected; until then one
   * call at a time.
   */
  async produce(
    broker: Broker,
    batches: ProduceBatch[],
    timeoutMs: number,
  ): Promise<ProducedPartition[]> {
    const connection = await this.#pool.get(broker);
    return api.async(connection, timeoutMs, batches);
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** Produce Request (Version: 7): a topic may stand in it only once. */
function requestOf(timeoutMs: number, batches: ProduceBatch[]): Writer {
  const topics = [...Map.groupBy(batches, ({ topic }) => topic)];
  const writer = Writer.create()
    .appendString(null, false) // no transaction
    .appendInt16(ACKS_ALL)
    .appendInt32(timeoutMs);
  const partitionOf = (w: Writer, { partition, batch }: ProduceBatch): void => {
    w.appendInt32(partition)
      .appendInt32(batch.byteLength)
      .append(Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength));
  };
  const topicOf = (w: Writer, [topic, partitions]: [string, ProduceBatch[]]): void => {
    w.appendString(topic, false).appendArray(partitions, partitionOf, false, false);
  };
  return writer.appendArray(topics, topicOf, false, false);
}

/** Produce Response (Version: 7). */
function answerOf(reader: Reader): ProducedPartition[] {
  const answers: ProducedPartition[] = [];
  const topicOf = (r: Reader): void => {
    const topic = r.readString(false);
    const partitionOf = (): void => {
      const partition = r.readInt32();
      const errorCode = r.readInt16();
      const baseOffset = Number(r.readInt64());
      const logAppendTimeMs = Number(r.readInt64());
      const logStartOffset = Number(r.readInt64());
      answers.push({
        topic,
        partition,
        errorCode,
        baseOffset,
        logAppendTimeMs,
        logStartOffset,
      });
    };
    r.readArray(partitionOf, false, false);
  };
  reader.readArray(topicOf, false, false);
  return answers;
}
