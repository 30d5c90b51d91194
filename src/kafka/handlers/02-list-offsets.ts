/**
 * Offsets by name or by time. By time it is the first record, in order of offsets, whose timestamp
 * is at least the one asked for; timestamps are the clients' own and need not ascend.
 */
import { offsetForTime, offsetOfNewest } from "../../log/offset-for-time.ts";
import { MilepostError } from "../../model/errors.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { listOffsets } from "../../wire/apis/list-offsets.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";
import { leaderEpochFault } from "../leader-epoch.ts";

type Asked = RequestOf<typeof listOffsets>["topics"][number]["partitions"][number];
type Answer = ResponseOf<typeof listOffsets>["topics"][number]["partitions"][number];
type Place = Pick<Answer, "timestamp" | "offset" | "leaderEpoch">;

const LATEST = -1;
const EARLIEST = -2;
const MAX_TIMESTAMP = -3;
const MAX_TIMESTAMP_FROM_VERSION = 7;

export const listOffsetsHandler = serve(listOffsets, async ({ topics }, context) => ({
  throttleTimeMs: 0,
  topics: await Promise.all(
    topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(partitions.map((asked) => answer(context, name, asked))),
    })),
  ),
}));

async function answer(context: Context, topic: string, asked: Asked): Promise<Answer> {
  const { partitionIndex, currentLeaderEpoch } = asked;
  const refused = (errorCode: number): Answer => {
    return { partitionIndex, errorCode, timestamp: -1, offset: -1, leaderEpoch: -1 };
  };
  const fault = leaderEpochFault(currentLeaderEpoch, context.services.log.node.epoch);
  if (fault !== E.NONE) return refused(fault);
  try {
    const place = await find(context, topic, asked);
    return place === null ? refused(E.NONE) : { partitionIndex, errorCode: E.NONE, ...place };
  } catch (error) {
    if (error instanceof MilepostError) return refused(error.kafka);
    throw error;
  }
}

/** Null: no such record. */
async function find(
  { services, version }: Context,
  topic: string,
  { partitionIndex: partition, timestamp }: Asked,
): Promise<Place | null> {
  const { log, reader } = services;
  const bounds = await log.call("bounds", topic, partition);
  if (timestamp === LATEST) {
    return { timestamp: -1, offset: bounds.highWatermark, leaderEpoch: log.node.epoch };
  }
  if (timestamp === EARLIEST) {
    return { timestamp: -1, offset: bounds.start, leaderEpoch: bounds.startEpoch };
  }
  if (timestamp === MAX_TIMESTAMP && version >= MAX_TIMESTAMP_FROM_VERSION) {
    return offsetOfNewest(log, reader, topic, partition);
  }
  // names that later versions have, as an earlier broker takes them: no record has such a time
  if (timestamp < 0) return null;
  return offsetForTime(log, reader, topic, partition, timestamp);
}
