/** Gives topics more partitions. Keys go to other partitions from then on, as in Kafka. */
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { createPartitions } from "../../wire/apis/create-partitions.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";
import { refusal, Refused, repeated } from "../refused.ts";
import { refuseOtherNodes, refuseReserved, topicNamed } from "../topic-access.ts";

type Wanted = RequestOf<typeof createPartitions>["topics"][number];
type Answer = ResponseOf<typeof createPartitions>["results"][number];

export const createPartitionsHandler = serve(createPartitions, async (request, context) => {
  const twice = repeated(request.topics.map(({ name }) => name));
  const results: Answer[] = [];
  for (const name of twice) {
    const errorMessage = "named twice in this request";
    results.push({ name, errorCode: E.INVALID_REQUEST, errorMessage });
  }
  for (const wanted of request.topics) {
    if (!twice.has(wanted.name)) results.push(await add(wanted, request.validateOnly, context));
  }
  return { throttleTimeMs: 0, results };
});

async function add(wanted: Wanted, validateOnly: boolean, context: Context): Promise<Answer> {
  const { log, nodeId } = context.services;
  const { name, count, assignments } = wanted;
  try {
    const { partitions } = topicNamed(context, name);
    refuseReserved(name);
    if (assignments !== null && count > partitions) {
      const added = count - partitions;
      if (assignments.length !== added) {
        const text = `${added} partitions more, but ${assignments.length} assignments`;
        throw new Refused(E.INVALID_REPLICA_ASSIGNMENT, text);
      }
      for (const { brokerIds } of assignments) refuseOtherNodes(brokerIds, nodeId);
    }
    await log.call("addPartitions", name, count, { validateOnly });
    return { name, errorCode: E.NONE, errorMessage: null };
  } catch (error) {
    return { name, ...refusal(error) };
  }
}
