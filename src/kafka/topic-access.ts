/** Topics as administrative requests name them. */
import type { IndexedTopic } from "../log/protocol.ts";
import { isReserved, validateTopicName } from "../model/topic-config.ts";
import { E } from "../wire/errors.ts";
import type { Context } from "./handler.ts";
import { quoted, Refused } from "./refused.ts";

export function topicNamed({ services }: Context, name: string): IndexedTopic {
  const topic = services.log.topic(name);
  if (topic !== null) return topic;
  throw new Refused(E.UNKNOWN_TOPIC_OR_PARTITION, `${quoted(name)}: there is no such topic`);
}

/** Some requests tell a name that no topic can have (17) from one that no topic has (3). */
export function topicValid(context: Context, name: string): IndexedTopic {
  validateTopicName(name);
  return topicNamed(context, name);
}

/** Throws UNKNOWN_TOPIC_OR_PARTITION, whatever the topic is called. */
export function topicOfPartition(
  { services }: Context,
  name: string,
  partition: number,
): IndexedTopic {
  const topic = services.log.topic(name);
  if (topic !== null && partition >= 0 && partition < topic.partitions) return topic;
  const text = `there is no partition ${partition} of ${name}`;
  throw new Refused(E.UNKNOWN_TOPIC_OR_PARTITION, text);
}

/** Sessions and offsets live there: a client's slip must not cost them. */
export function refuseReserved(name: string): void {
  if (!isReserved(name)) return;
  const text = `${quoted(name)}: topics whose names begin with __ are the node's own`;
  throw new Refused(E.TOPIC_AUTHORIZATION_FAILED, text);
}

/** One node leads everything: replicas that a client assigns can only be its own. */
export function refuseOtherNodes(brokerIds: number[], nodeId: number): void {
  if (brokerIds.length === 1 && brokerIds[0] === nodeId) return;
  const text = `there is one node: replicas must be [${nodeId}], not [${brokerIds.slice(0, 10)}]`;
  throw new Refused(E.INVALID_REPLICA_ASSIGNMENT, text);
}
