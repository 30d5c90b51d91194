/**
 * Deletes topics by name, from version 6 on also by id, each by itself. What is named twice is
 * refused once and stays. The node's own topics stay.
 */
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { deleteTopics } from "../../wire/apis/delete-topics.ts";
import { E } from "../../wire/errors.ts";
import { ZERO_UUID } from "../../wire/schema.ts";
import { type Context, serve } from "../handler.ts";
import { refusal, Refused, repeated } from "../refused.ts";
import { refuseReserved, topicNamed } from "../topic-access.ts";

type Asked = RequestOf<typeof deleteTopics>["topics"][number];
type Answer = ResponseOf<typeof deleteTopics>["responses"][number];

export const deleteTopicsHandler = serve(deleteTopics, async (request, context) => {
  const asked: Asked[] =
    context.version >= 6
      ? request.topics
      : request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }));
  const { log } = context.services;
  const keyOf = ({ name, topicId }: Asked): string =>
    name ?? log.topicById(topicId)?.name ?? `id ${topicId}`;
  const twice = repeated(asked.map(keyOf));
  const refusedAlready = new Set<string>();
  const responses: Answer[] = [];
  for (const topic of asked) {
    const key = keyOf(topic);
    if (refusedAlready.has(key)) continue;
    if (twice.has(key)) refusedAlready.add(key);
    responses.push(await remove(topic, twice.has(key), context));
  }
  return { throttleTimeMs: 0, responses };
});

async function remove(asked: Asked, twice: boolean, context: Context): Promise<Answer> {
  const { log } = context.services;
  let { name, topicId } = asked;
  try {
    if (twice) throw new Refused(E.INVALID_REQUEST, "named twice in this request");
    if ((name === null) === (topicId === ZERO_UUID)) {
      throw new Refused(E.INVALID_REQUEST, "either a name or an id is wanted");
    }
    if (name === null) {
      name = log.topicById(topicId)?.name ?? null;
      if (name === null) throw new Refused(E.UNKNOWN_TOPIC_ID, `no topic has the id ${topicId}`);
    }
    const topic = topicNamed(context, name);
    topicId = topic.id;
    refuseReserved(name);
    // made anew meanwhile, it is another one
    await log.call("deleteTopic", name, topic.id);
    return { name, topicId, errorCode: E.NONE, errorMessage: null };
  } catch (error) {
    return { name, topicId, ...refusal(error) };
  }
}
