/**
 * The idempotent producers of a partition and the last sequence of each, until they expire: how one
 * that lost sight of its answers finds out what arrived.
 */
import { mapSome } from "../../lib/map-some.ts";
import { MilepostError } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import type { ResponseOf } from "../../wire/api.ts";
import { describeProducers } from "../../wire/apis/describe-producers.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

type Answer = ResponseOf<typeof describeProducers>["topics"][number]["partitions"][number];

export const describeProducersHandler = serve(describeProducers, async (request, context) => {
  const asked = request.topics.flatMap(({ name, partitionIndexes }) =>
    partitionIndexes.map((partition) => ({ name, partition })),
  );
  const answers = await mapSome(asked, limits.kafkaLookupsAtOnce, ({ name, partition }) =>
    answer(context, name, partition),
  );
  let at = 0;
  const topics = request.topics.map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map(() => answers[at++]),
  }));
  return { throttleTimeMs: 0, topics };
});

async function answer({ services }: Context, name: string, partition: number): Promise<Answer> {
  const none = { partitionIndex: partition, errorMessage: null, activeProducers: [] };
  try {
    const producers = await services.log.call("producers", name, partition);
    const activeProducers = producers.map(({ id, epoch, lastSequence, usedMs }) => ({
      producerId: id,
      producerEpoch: epoch,
      lastSequence,
      lastTimestamp: usedMs,
      coordinatorEpoch: -1, // of transactions, as is the next
      currentTxnStartOffset: -1,
    }));
    return { ...none, errorCode: E.NONE, activeProducers };
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    return { ...none, errorCode: error.kafka, errorMessage: error.message };
  }
}
