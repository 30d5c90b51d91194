/**
 * Makes topics, one after the other. A topic that cannot be made is refused by itself. A name that
 * stands twice in a request is refused once, and none of it is made.
 */
import { MilepostError } from "../../model/errors.ts";
import {
  partitionsByDefault,
  type TopicConfig,
  validateTopicName,
} from "../../model/topic-config.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { createTopics } from "../../wire/apis/create-topics.ts";
import { E } from "../../wire/errors.ts";
import { ZERO_UUID } from "../../wire/schema.ts";
import { topicEntries } from "../config-entries.ts";
import { type Context, serve } from "../handler.ts";
import { refusal, Refused, repeated } from "../refused.ts";
import { refuseOtherNodes, refuseReserved } from "../topic-access.ts";

type NewTopic = RequestOf<typeof createTopics>["topics"][number];
type Answer = ResponseOf<typeof createTopics>["topics"][number];

const DEFAULT = -1;

export const createTopicsHandler = serve(createTopics, async (request, context) => {
  const twice = repeated(request.topics.map(({ name }) => name));
  const topics: Answer[] = [];
  for (const name of twice) {
    topics.push(refused(name, new Refused(E.INVALID_REQUEST, "named twice in this request")));
  }
  for (const topic of request.topics) {
    if (!twice.has(topic.name)) topics.push(await create(topic, request.validateOnly, context));
  }
  return { throttleTimeMs: 0, topics };
});

async function create(topic: NewTopic, validateOnly: boolean, context: Context): Promise<Answer> {
  const { log } = context.services;
  const { name } = topic;
  try {
    validateTopicName(name);
    if (log.topic(name) !== null) throw new MilepostError("topic_exists", name);
    refuseReserved(name);
    const partitions = partitionsOf(topic, context.services.nodeId);
    const config = configOf(topic);
    const made = await log.call("createTopic", name, partitions, config, { validateOnly });
    return {
      name,
      topicId: made?.id ?? ZERO_UUID,
      errorCode: E.NONE,
      errorMessage: null,
      topicConfigErrorCode: E.NONE,
      numPartitions: partitions,
      replicationFactor: 1,
      configs: topicEntries(config, log.node.defaults),
    };
  } catch (error) {
    return refused(name, error);
  }
}

function refused(name: string, error: unknown): Answer {
  return {
    name,
    topicId: ZERO_UUID,
    ...refusal(error),
    topicConfigErrorCode: E.NONE,
    numPartitions: -1,
    replicationFactor: -1,
    configs: [],
  };
}

/** One node: whatever is assigned can only be assigned to it. */
function partitionsOf(topic: NewTopic, nodeId: number): number {
  const { numPartitions, replicationFactor, assignments } = topic;
  if (assignments.length > 0) {
    if (numPartitions !== DEFAULT || replicationFactor !== DEFAULT) {
      const text = "replicas are assigned, so partitions and replication factor must be -1";
      throw new Refused(E.INVALID_REQUEST, text);
    }
    const indexes = new Set(assignments.map(({ partitionIndex }) => partitionIndex));
    for (let p = 0; p < assignments.length; p++) {
      if (indexes.has(p)) continue;
      const text = "assignments must number the partitions from 0 on, each once";
      throw new Refused(E.INVALID_REPLICA_ASSIGNMENT, text);
    }
    for (const { brokerIds } of assignments) refuseOtherNodes(brokerIds, nodeId);
    return assignments.length;
  }
  if (replicationFactor !== DEFAULT && replicationFactor !== 1) {
    const text = `replication factor ${replicationFactor}: there is one node, so it is 1 or -1`;
    throw new Refused(E.INVALID_REPLICATION_FACTOR, text);
  }
  return numPartitions === DEFAULT ? partitionsByDefault : numPartitions;
}

function configOf({ configs }: NewTopic): TopicConfig {
  const unset = configs.find(({ value }) => value === null);
  if (unset !== undefined) throw new MilepostError("invalid_config", `${unset.name}: no value`);
  return Object.fromEntries(configs.map(({ name, value }) => [name, value as string]));
}
