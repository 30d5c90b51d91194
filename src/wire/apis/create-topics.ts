import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int8,
  int16,
  int32,
  nullableArray,
  nullableString,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** -1 partitions or replicas: as many as the node gives by itself (KIP-464). */
export const createTopics = api({
  key: 19,
  name: "CreateTopics",
  versions: "0-7",
  flexible: "5+",
  request: {
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          numPartitions: field("0+", int32),
          replicationFactor: field("0+", int16),
          assignments: field(
            "0+",
            array(
              struct({
                partitionIndex: field("0+", int32),
                brokerIds: field("0+", array(int32)),
              }),
            ),
          ),
          configs: field(
            "0+",
            array(struct({ name: field("0+", string), value: field("0+", nullableString()) })),
          ),
        }),
      ),
    ),
    timeoutMs: field("0+", int32, { default: 60_000 }),
    validateOnly: field("1+", boolean),
  },
  response: {
    throttleTimeMs: field("2+", int32),
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          topicId: field("7+", uuid),
          errorCode: field("0+", int16),
          errorMessage: field("1+", nullableString(), { default: null }),
          topicConfigErrorCode: field("5+", int16, { tag: 0 }),
          numPartitions: field("5+", int32, { default: -1 }),
          replicationFactor: field("5+", int16, { default: -1 }),
          configs: field(
            "5+",
            nullableArray(
              struct({
                name: field("5+", string),
                value: field("5+", nullableString()),
                readOnly: field("5+", boolean),
                configSource: field("5+", int8, { default: -1 }),
                isSensitive: field("5+", boolean),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
