/**
 * Who leads what. One node leads everything. A topic that is asked for by name and not there is
 * made, where the client allows it.
 */
import type { IndexedTopic } from "../../log/protocol.ts";
import { MilepostError } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import type { ResponseOf } from "../../wire/api.ts";
import { metadata } from "../../wire/apis/metadata.ts";
import { E } from "../../wire/errors.ts";
import { ZERO_UUID } from "../../wire/schema.ts";
import { type Context, type Peer, serve } from "../handler.ts";
import { kafkaCode } from "../codes.ts";

type TopicAnswer = ResponseOf<typeof metadata>["topics"][number];

/** Kafka's num.partitions for topics that nobody declared. */
const PARTITIONS = 4;
const OPERATIONS_UNKNOWN = -2147483648;
const MINUTE_MS = 60_000;

export const metadataHandler = serve(metadata, async (request, context) => {
  const { services, peer, version } = context;
  const asked = request.topics;
  const all = asked === null || (version === 0 && asked.length === 0);
  const topics: TopicAnswer[] = [];
  if (all) {
    for (const topic of services.log.topics()) topics.push(describe(context, topic));
  } else {
    for (const { name, topicId } of asked) {
      topics.push(
        name === null
          ? byId(context, topicId)
          : await byName(context, name, request.allowAutoTopicCreation),
      );
    }
  }
  return {
    throttleTimeMs: 0,
    brokers: [{ nodeId: services.nodeId, ...peer.advertised, rack: null }],
    clusterId: services.clusterId,
    controllerId: services.nodeId,
    topics,
    clusterAuthorizedOperations: OPERATIONS_UNKNOWN,
  };
});

function describe({ services }: Context, topic: IndexedTopic): TopicAnswer {
  const { nodeId, log } = services;
  return {
    errorCode: E.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: topic.name.startsWith("__"),
    partitions: Array.from({ length: topic.partitions }, (_, partitionIndex) => ({
      errorCode: E.NONE,
      partitionIndex,
      leaderId: nodeId,
      leaderEpoch: log.node.epoch,
      replicaNodes: [nodeId],
      isrNodes: [nodeId],
      offlineReplicas: [],
    })),
    topicAuthorizedOperations: OPERATIONS_UNKNOWN,
  };
}

function failed(name: string | null, topicId: string, errorCode: number): TopicAnswer {
  return {
    errorCode,
    name,
    topicId,
    isInternal: false,
    partitions: [],
    topicAuthorizedOperations: OPERATIONS_UNKNOWN,
  };
}

function byId(context: Context, id: string): TopicAnswer {
  const topic = context.services.log.topics().find((t) => t.id === id);
  return topic === undefined ? failed(null, id, E.UNKNOWN_TOPIC_ID) : describe(context, topic);
}

async function byName(context: Context, name: string, create: boolean): Promise<TopicAnswer> {
  const { log, now } = context.services;
  let topic = log.topic(name);
  if (topic === null && create) {
    if (!mayCreate(context.peer, now())) return failed(name, ZERO_UUID, E.POLICY_VIOLATION);
    try {
      await log.call("createTopic", name, PARTITIONS, {});
    } catch (error) {
      if (!(error instanceof MilepostError)) throw error;
      // another connection was first
      if (error.code !== "topic_exists") return failed(name, ZERO_UUID, kafkaCode(error.code));
    }
    topic = log.topic(name);
  }
  return topic === null
    ? failed(name, ZERO_UUID, E.UNKNOWN_TOPIC_OR_PARTITION)
    : describe(context, topic);
}

function mayCreate({ autoCreated }: Peer, now: number): boolean {
  if (now - autoCreated.sinceMs > MINUTE_MS)
    Object.assign(autoCreated, { sinceMs: now, topics: 0 });
  return ++autoCreated.topics <= limits.kafkaAutoCreatedPerMinuteMax;
}
