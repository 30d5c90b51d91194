import { MilepostError } from "../../model/errors.ts";
import { isReserved } from "../../model/topic-config.ts";
import { deleteRecords } from "../../wire/apis/delete-records.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

/** Moves the start of partitions; what lies before it is no longer read. Offset -1: all of it. */
export const deleteRecordsHandler = serve(deleteRecords, async ({ topics }, context) => ({
  throttleTimeMs: 0,
  topics: await Promise.all(
    topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map(async ({ partitionIndex, offset }) => ({
          partitionIndex,
          ...(await moveStart(context, name, partitionIndex, offset)),
        })),
      ),
    })),
  ),
}));

async function moveStart({ services }: Context, topic: string, partition: number, before: number) {
  const refused = (errorCode: number) => ({ lowWatermark: -1, errorCode });
  if (isReserved(topic)) return refused(E.TOPIC_AUTHORIZATION_FAILED);
  try {
    const start = await services.log.call("deleteRecords", topic, partition, before);
    return { lowWatermark: start, errorCode: E.NONE };
  } catch (error) {
    if (error instanceof MilepostError) return refused(error.kafka);
    throw error;
  }
}
