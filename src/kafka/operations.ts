/**
 * What a client may do, as a bit for each of Kafka's operations (KIP-430). There is no authorizer:
 * everybody may do all that the node does for anybody.
 */
import { isReserved } from "../model/topic-config.ts";

const [READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE] = [3, 4, 5, 6, 7, 8];
const [CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE] = [9, 10, 11, 12];

const bits = (...operations: number[]): number =>
  operations.reduce((field, operation) => field | (1 << operation), 0);

/** Where nobody asked. */
export const OPERATIONS_UNKNOWN = -2147483648;

export const clusterOperations = bits(
  CREATE,
  ALTER,
  DESCRIBE,
  CLUSTER_ACTION,
  DESCRIBE_CONFIGS,
  ALTER_CONFIGS,
  IDEMPOTENT_WRITE,
);

const ofTopics = bits(
  READ,
  WRITE,
  CREATE,
  DELETE,
  ALTER,
  DESCRIBE,
  DESCRIBE_CONFIGS,
  ALTER_CONFIGS,
);
const ofReserved = bits(READ, DESCRIBE, DESCRIBE_CONFIGS);

export const topicOperations = (topic: string): number =>
  isReserved(topic) ? ofReserved : ofTopics;
