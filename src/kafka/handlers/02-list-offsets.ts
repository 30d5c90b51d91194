/** Offsets by time: the first record at or after it, or the log's ends, or its newest record. */
import { mapSome } from "../../lib/map-some.ts";
import { offsetForTime, offsetOfNewest, type TimedOffset } from "../../log/offset-for-time.ts";
import { limits } from "../../model/limits.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { listOffsets } from "../../wire/apis/list-offsets.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";
import { leaderEpochFault } from "../leader-epoch.ts";
import { refusal, Refused, repeated } from "../refused.ts";
import { topicOfPartition } from "../topic-access.ts";

type Asked = RequestOf<typeof listOffsets>["topics"][number]["partitions"][number];
type Answer = ResponseOf<typeof listOffsets>["topics"][number]["partitions"][number];

const LATEST = -1;
const EARLIEST = -2;
const NEWEST = -3;
/** KIP-734. Later versions know more such numbers. */
const NEWEST_FROM_VERSION = 7;

const NONE: TimedOffset = { offset: -1, timestamp: -1, leaderEpoch: -1 };

export const listOffsetsHandler = serve(listOffsets, async (request, context) => {
  const twice = repeated(
    request.topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex }) => `${name}/${partitionIndex}`),
    ),
  );
  const topics: ResponseOf<typeof listOffsets>["topics"] = [];
  for (const { name, partitions } of request.topics) {
    const answers = await mapSome(partitions, limits.kafkaLookupsAtOnce, (asked) =>
      answer(context, name, asked, twice.has(`${name}/${asked.partitionIndex}`)),
    );
    topics.push({ name, partitions: answers });
  }
  return { throttleTimeMs: 0, topics };
});

async function answer(
  context: Context,
  topic: string,
  asked: Asked,
  twice: boolean,
): Promise<Answer> {
  const { partitionIndex } = asked;
  try {
    if (twice) throw new Refused(E.INVALID_REQUEST, `${topic}/${partitionIndex}: asked for twice`);
    return { partitionIndex, errorCode: E.NONE, ...(await find(context, topic, asked)) };
  } catch (error) {
    return { partitionIndex, errorCode: refusal(error).errorCode, ...NONE };
  }
}

async function find(context: Context, topic: string, asked: Asked): Promise<TimedOffset> {
  const { partitionIndex: partition, timestamp, currentLeaderEpoch } = asked;
  const { log, reader } = context.services;
  const newest = timestamp === NEWEST && context.version >= NEWEST_FROM_VERSION;
  if (timestamp < EARLIEST && !newest) {
    throw new Refused(E.UNSUPPORTED_VERSION, `no offset is called ${timestamp}`);
  }
  topicOfPartition(context, topic, partition);
  const fault = leaderEpochFault(currentLeaderEpoch, log.node.epoch);
  if (fault !== E.NONE) throw new Refused(fault, `leader epoch ${currentLeaderEpoch}`);
  if (newest) return (await offsetOfNewest(log, reader, topic, partition)) ?? NONE;
  if (timestamp >= 0) {
    return (await offsetForTime(log, reader, topic, partition, timestamp)) ?? NONE;
  }
  const { start, startEpoch, highWatermark } = await log.call("bounds", topic, partition);
  return timestamp === LATEST
    ? { offset: highWatermark, timestamp: -1, leaderEpoch: log.node.epoch }
    : { offset: start, timestamp: -1, leaderEpoch: startEpoch };
}
