/**
 * Topic `positions` of the cluster behind an uplink, for one driver. Nobody there knows which
 * batches hold which keys, so all of a partition is read between two offsets.
 */
import { endOffset } from "../batch/header.ts";
import { atMost } from "../lib/at-most.ts";
import type { KeyedBatches } from "../log/keyed-reader.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { type ClusterClient, EARLIEST, LATEST } from "../uplink/cluster-client.ts";
import { reasonOf } from "../uplink/kafka-errors.ts";
import type { Bounds, Positions } from "./positions.ts";
import { TOPIC } from "./tracker.ts";
import { E } from "../wire/errors.ts";

export class ClusterPositions implements Positions {
  readonly #client: ClusterClient;
  readonly isScanned = true;

  constructor(client: ClusterClient) {
    this.#client = client;
  }

  async batches(
    partition: number,
    _key: Uint8Array,
    from: number,
    to: number,
    maxBytes: number,
  ): Promise<KeyedBatches> {
    const reading = this.#client.read(TOPIC, partition, from, maxBytes);
    const { errorCode, batches, highWatermark } = await answered(reading);
    if (errorCode === E.OFFSET_OUT_OF_RANGE)
      throw new MilepostError("offset_out_of_range", `${from}`);
    if (errorCode !== 0) throw new MilepostError("uplink", `error ${errorCode}`);
    const last = batches.at(-1);
    // nothing there: that was all, compaction and transactions aside
    const next = last === undefined ? Math.min(to, highWatermark) : endOffset(last);
    return { batches, next, highWatermark, start: from };
  }

  async bounds(partition: number): Promise<Bounds> {
    const [starts, ends] = await Promise.all([
      answered(this.#client.offsets(TOPIC, EARLIEST, partition)),
      answered(this.#client.offsets(TOPIC, LATEST, partition)),
    ]);
    return { start: starts[partition], highWatermark: ends[partition] };
  }

  async firstSince(partition: number, timestamp: number): Promise<number | null> {
    const offset = (await answered(this.#client.offsets(TOPIC, timestamp, partition)))[partition];
    return offset < 0 ? null : offset;
  }
}

/** Somebody waits for it. */
async function answered<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {});
  let answer: T | undefined;
  try {
    answer = await atMost(limits.clusterAnswerMsMax, work);
  } catch (error) {
    throw new MilepostError("uplink", reasonOf(error));
  }
  if (answer === undefined) throw new MilepostError("uplink", "no answer");
  return answer;
}
