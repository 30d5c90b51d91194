/**
 * Kafka's Fetch through the client library's connections, but with the answer's RecordBatches left
 * as bytes: an object a record would cost more than all the rest of a sink.
 */
import {
  ConnectionPool,
  createAPI,
  fetchV11,
  type BaseOptions,
  type Broker,
  type Reader,
} from "@platformatic/kafka";
import { batchBytes } from "../batch/header.ts";
import { HEADER_BYTES } from "../batch/layout.ts";

export type FetchedPartition = {
  topic: string;
  partition: number;
  errorCode: number;
  highWatermark: number;
  batches: Uint8Array[];
};

export type FetchRequest = {
  waitMs: number;
  bytesMin: number;
  bytesMax: number;
  partitionBytesMax: number;
  topics: { topic: string; partitions: { partition: number; offset: number }[] }[];
};

const READ_UNCOMMITTED = 0;
/** The newest that Redpanda has too. */
const VERSION = 11;

type Wanted = { topicId: string; partitions: object[] };

const api = createAPI<
  [number, number, number, number, number, number, Wanted[], object[], string],
  FetchedPartition[]
>(
  1,
  VERSION,
  fetchV11.createRequest,
  (_correlation, _key, _version, reader) => answerOf(reader),
  false,
  false,
);

export class RawFetch {
  readonly #pool: ConnectionPool;

  /** Connections of its own: a fetch that waits would hold up heartbeats. */
  constructor(options: BaseOptions) {
    const { clientId, connectTimeout, requestTimeout } = options;
    this.#pool = new ConnectionPool(clientId, { connectTimeout, requestTimeout });
  }

  async fetch(broker: Broker, request: FetchRequest): Promise<FetchedPartition[]> {
    const connection = await this.#pool.get(broker);
    const topics = request.topics.map(({ topic, partitions }) => ({
      topicId: topic,
      partitions: partitions.map(({ partition, offset }) => ({
        partition,
        fetchOffset: BigInt(offset),
        partitionMaxBytes: request.partitionBytesMax,
        currentLeaderEpoch: -1,
        lastFetchedEpoch: -1,
      })),
    }));
    const { waitMs, bytesMin, bytesMax } = request;
    const level = READ_UNCOMMITTED;
    return api.async(connection, waitMs, bytesMin, bytesMax, level, 0, -1, topics, [], "");
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }
}

/** Fetch Response (Version: 11). */
function answerOf(reader: Reader): FetchedPartition[] {
  reader.readInt32(); // throttle time
  const errorCode = reader.readInt16();
  reader.readInt32(); // session
  const answers: FetchedPartition[] = [];
  const topicOf = (r: Reader): void => {
    const topic = r.readString(false);
    const partitionOf = (): void => {
      const partition = r.readInt32();
      const own = r.readInt16();
      const highWatermark = Number(r.readInt64());
      r.readInt64(); // last stable offset
      r.readInt64(); // log start offset
      r.readNullableArray(() => [r.readInt64(), r.readInt64()], false, false);
      r.readInt32(); // preferred read replica
      const length = r.readInt32();
      let batches: Uint8Array[] = [];
      if (length > 0) {
        batches = batchesIn(r.buffer.slice(r.position, r.position + length));
        r.skip(length);
      }
      const code = own === 0 ? errorCode : own;
      answers.push({ topic, partition, errorCode: code, highWatermark, batches });
    };
    r.readArray(partitionOf, false, false);
  };
  reader.readArray(topicOf, false, false);
  return answers;
}

/** Whole ones: an answer is cut at a size. */
function batchesIn(bytes: Uint8Array): Uint8Array[] {
  const batches: Uint8Array[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.byteLength;) {
    const length = batchBytes(bytes, at);
    if (length < HEADER_BYTES || at + length > bytes.byteLength) break;
    batches.push(bytes.subarray(at, at + length));
    at += length;
  }
  return batches;
}
