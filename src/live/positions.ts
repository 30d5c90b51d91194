/** Topic `positions` beside the stream: by offset and time, for one driver. */
import type { RecordCursor } from "../batch/records.ts";
import type { LogPort } from "../log/client.ts";
import { batchesOf, type KeyedBatches } from "../log/keyed-reader.ts";
import type { LogReader } from "../log/reader.ts";
import { TOPIC } from "./tracker.ts";

export type Bounds = { start: number; highWatermark: number };

/** Whatever fails is a MilepostError. */
export interface Positions {
  /** There is no index of keys: all there is between two offsets is read. */
  readonly isScanned: boolean;
  /**
   * The batches of a partition that may hold records of a key, offsets `from` to `to`, of about
   * `maxBytes`.
   */
  batches(
    partition: number,
    key: Uint8Array,
    from: number,
    to: number,
    maxBytes: number,
  ): Promise<KeyedBatches>;
  bounds(partition: number): Promise<Bounds>;
  /** Every record before it is older; null: every one is. */
  firstSince(partition: number, timestamp: number): Promise<number | null>;
}

/** In the log of this gateway. */
export class LogPositions implements Positions {
  readonly #log: LogPort;
  readonly #reader: LogReader;
  readonly isScanned = false;

  constructor(log: LogPort, reader: LogReader) {
    this.#log = log;
    this.#reader = reader;
  }

  batches(
    partition: number,
    key: Uint8Array,
    from: number,
    to: number,
    maxBytes: number,
  ): Promise<KeyedBatches> {
    return batchesOf(this.#reader, TOPIC, partition, key, from, to, maxBytes);
  }

  bounds(partition: number): Promise<Bounds> {
    return this.#log.call("bounds", TOPIC, partition);
  }

  firstSince(partition: number, timestamp: number): Promise<number | null> {
    return this.#log.call("firstBatchSince", TOPIC, partition, timestamp, 0);
  }
}

/** Without a piece of garbage: where there is no index, every record is asked. */
export function isKey({ bytes, keyStart, keyEnd }: RecordCursor, key: Uint8Array): boolean {
  if (keyEnd - keyStart !== key.byteLength || keyStart < 0) return false;
  for (let i = 0; i < key.byteLength; i++) if (bytes[keyStart + i] !== key[i]) return false;
  return true;
}
