/** Moves the start of partitions; what lies before it cannot be read any more. -1: all of it. */
import { effectiveConfig, logSettings } from "../../model/topic-config.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { deleteRecords } from "../../wire/apis/delete-records.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";
import { refusal, Refused } from "../refused.ts";
import { refuseReserved, topicOfPartition } from "../topic-access.ts";

type Asked = RequestOf<typeof deleteRecords>["topics"][number]["partitions"][number];
type Answer = ResponseOf<typeof deleteRecords>["topics"][number]["partitions"][number];

export const deleteRecordsHandler = serve(deleteRecords, async (request, context) => {
  const topics: ResponseOf<typeof deleteRecords>["topics"] = [];
  for (const { name, partitions } of request.topics) {
    const answers: Answer[] = [];
    // one after the other: each waits for the disk, and appends go on between them
    for (const asked of partitions) answers.push(await answer(context, name, asked));
    topics.push({ name, partitions: answers });
  }
  return { throttleTimeMs: 0, topics };
});

async function answer(context: Context, name: string, asked: Asked): Promise<Answer> {
  const { partitionIndex, offset } = asked;
  try {
    refuseReserved(name);
    const topic = topicOfPartition(context, name, partitionIndex);
    // the oldest record of a key may be its newest
    if (!logSettings(effectiveConfig(topic.config)).delete) {
      throw new Refused(E.POLICY_VIOLATION, `${name}: cleanup.policy is compact`);
    }
    const { log } = context.services;
    const lowWatermark = await log.call("deleteRecords", name, partitionIndex, offset);
    return { partitionIndex, lowWatermark, errorCode: E.NONE };
  } catch (error) {
    return { partitionIndex, lowWatermark: -1, errorCode: refusal(error).errorCode };
  }
}
