/**
 * Who leads what. One node leads everything. A topic that is asked for by name and not there is
 * made, where the client allows it; how many one connection may make so is limited.
 */
import type { IndexedTopic } from "../../log/protocol.ts";
import { MilepostError } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import {
  builtInTopics,
  isReserved,
  isTopicName,
  partitionsByDefault,
} from "../../model/topic-config.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { metadata } from "../../wire/apis/metadata.ts";
import { E } from "../../wire/errors.ts";
import { ZERO_UUID } from "../../wire/schema.ts";
import { type Context, type Peer, serve } from "../handler.ts";
import { clusterOperations, OPERATIONS_UNKNOWN, topicOperations } from "../operations.ts";
import { refusal } from "../refused.ts";

type Request = RequestOf<typeof metadata>;
type Asked = NonNullable<Request["topics"]>[number];
type Answer = ResponseOf<typeof metadata>["topics"][number];

const MINUTE_MS = 60_000;
/**
 * Not made by asking: one that an operator deleted would come back without its settings, and no
 * ping would be taken.
 */
const builtIn = new Set(builtInTopics.map(({ name }) => name));
/** Clients that subscribe to a pattern pass over these. */
const internal = new Set([...builtIn].filter(isReserved));

export const metadataHandler = serve(metadata, async (request, context) => {
  const { services, peer, version } = context;
  const { topics: asked, includeTopicAuthorizedOperations } = request;
  const all = asked === null || (version === 0 && asked.length === 0);
  const topics: Answer[] = [];
  if (all) {
    for (const topic of services.log.topics()) topics.push(describe(context, topic));
  } else {
    for (const topic of distinct(asked)) topics.push(await answer(topic, request, context));
  }
  if (includeTopicAuthorizedOperations) {
    for (const topic of topics) {
      if (topic.name !== null) topic.topicAuthorizedOperations = topicOperations(topic.name);
    }
  }
  return {
    throttleTimeMs: 0,
    brokers: [{ nodeId: services.nodeId, ...peer.advertised, rack: null }],
    clusterId: services.clusterId,
    controllerId: services.nodeId,
    topics,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? clusterOperations
      : OPERATIONS_UNKNOWN,
  };
});

/** Each topic is answered once: the answer for one may be as large as that for all. */
function distinct(asked: Asked[]): Iterable<Asked> {
  const byKey = new Map<string, Asked>();
  for (const topic of asked) byKey.set(topic.name ?? `id ${topic.topicId}`, topic);
  return byKey.values();
}

function describe({ services }: Context, topic: IndexedTopic): Answer {
  const { nodeId, log } = services;
  return {
    errorCode: E.NONE,
    name: topic.name,
    topicId: topic.id,
    isInternal: internal.has(topic.name),
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

async function answer(asked: Asked, request: Request, context: Context): Promise<Answer> {
  const found = await find(asked, request, context);
  if (typeof found !== "number") return describe(context, found);
  return {
    errorCode: found,
    name: asked.name,
    topicId: asked.topicId,
    isInternal: false,
    partitions: [],
    topicAuthorizedOperations: OPERATIONS_UNKNOWN,
  };
}

/** The topic, or the code of why there is none: a request may name thousands. */
async function find(
  { name, topicId }: Asked,
  { allowAutoTopicCreation }: Request,
  context: Context,
): Promise<IndexedTopic | number> {
  const { log } = context.services;
  if (name === null || topicId !== ZERO_UUID) {
    // older ones have the fields, but clients must not use them
    if (context.version < 12) return E.INVALID_REQUEST;
    return log.topicById(topicId) ?? E.UNKNOWN_TOPIC_ID;
  }
  const topic = log.topic(name);
  if (topic !== null) return topic;
  if (!isTopicName(name)) return E.INVALID_TOPIC_EXCEPTION;
  if (!allowAutoTopicCreation || isReserved(name) || builtIn.has(name)) {
    return E.UNKNOWN_TOPIC_OR_PARTITION;
  }
  if (!mayCreate(context.peer, context.services.now())) return E.POLICY_VIOLATION;
  const code = await create(name, context);
  return log.topic(name) ?? code;
}

/** The code for the case that it is not there. */
async function create(name: string, { services }: Context): Promise<number> {
  try {
    await services.log.call("createTopic", name, partitionsByDefault, {});
  } catch (error) {
    // another connection was first
    if (!(error instanceof MilepostError && error.code === "topic_exists")) {
      return refusal(error).errorCode;
    }
  }
  return E.UNKNOWN_TOPIC_OR_PARTITION;
}

function mayCreate({ autoCreated }: Peer, now: number): boolean {
  if (now - autoCreated.sinceMs > MINUTE_MS) {
    Object.assign(autoCreated, { sinceMs: now, topics: 0 });
  }
  return ++autoCreated.topics <= limits.kafkaAutoCreatedPerMinuteMax;
}
