import { mapSome } from "../../lib/map-some.ts";
import { MilepostError } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { offsetForLeaderEpoch } from "../../wire/apis/offset-for-leader-epoch.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";
import { leaderEpochFault } from "../leader-epoch.ts";

type Asked = RequestOf<typeof offsetForLeaderEpoch>["topics"][number]["partitions"][number];
type Answer = ResponseOf<typeof offsetForLeaderEpoch>["topics"][number]["partitions"][number];

/** Where the records up to an epoch end: how a client finds out that the log was cut under it. */
export const offsetForLeaderEpochHandler = serve(offsetForLeaderEpoch, async (request, context) => {
  const asked = request.topics.flatMap(({ topic, partitions }) =>
    partitions.map((partition) => ({ topic, partition })),
  );
  const answers = await mapSome(asked, limits.kafkaLookupsAtOnce, ({ topic, partition }) =>
    answer(context, topic, partition),
  );
  let at = 0;
  const topics = request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(() => answers[at++]),
  }));
  return { throttleTimeMs: 0, topics };
});

async function answer({ services }: Context, topic: string, asked: Asked): Promise<Answer> {
  const { partition, currentLeaderEpoch, leaderEpoch } = asked;
  const { log } = services;
  const none = (errorCode: number): Answer => {
    return { errorCode, partition, leaderEpoch: -1, endOffset: -1 };
  };
  const fault = leaderEpochFault(currentLeaderEpoch, log.node.epoch);
  if (fault !== E.NONE) return none(fault);
  try {
    const end = await log.call("endOfEpoch", topic, partition, leaderEpoch);
    if (end === null) return none(E.NONE);
    return { errorCode: E.NONE, partition, leaderEpoch: end.epoch, endOffset: end.offset };
  } catch (error) {
    if (error instanceof MilepostError) return none(error.kafka);
    throw error;
  }
}
