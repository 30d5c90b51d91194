import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int16,
  int32,
  nullableArray,
  nullableString,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Null topics: all of them; in version 0 an empty list says so. */
export const metadata = api({
  key: 3,
  name: "Metadata",
  versions: "0-12",
  flexible: "9+",
  request: {
    topics: field(
      "0+",
      nullableArray(
        struct({
          topicId: field("10+", uuid),
          name: field("0+", nullableString("10+")),
        }),
        "1+",
      ),
    ),
    allowAutoTopicCreation: field("4+", boolean, { default: true }),
    includeClusterAuthorizedOperations: field("8-10", boolean),
    includeTopicAuthorizedOperations: field("8+", boolean),
  },
  response: {
    throttleTimeMs: field("3+", int32),
    brokers: field(
      "0+",
      array(
        struct({
          nodeId: field("0+", int32),
          host: field("0+", string),
          port: field("0+", int32),
          rack: field("1+", nullableString("1+"), { default: null }),
        }),
      ),
    ),
    clusterId: field("2+", nullableString("2+"), { default: null }),
    controllerId: field("1+", int32, { default: -1 }),
    topics: field(
      "0+",
      array(
        struct({
          errorCode: field("0+", int16),
          name: field("0+", nullableString("12+")),
          topicId: field("10+", uuid),
          isInternal: field("1+", boolean),
          partitions: field(
            "0+",
            array(
              struct({
                errorCode: field("0+", int16),
                partitionIndex: field("0+", int32),
                leaderId: field("0+", int32),
                leaderEpoch: field("7+", int32, { default: -1 }),
                replicaNodes: field("0+", array(int32)),
                isrNodes: field("0+", array(int32)),
                offlineReplicas: field("5+", array(int32)),
              }),
            ),
          ),
          topicAuthorizedOperations: field("8+", int32, { default: -2147483648 }),
        }),
      ),
    ),
    clusterAuthorizedOperations: field("8-10", int32, { default: -2147483648 }),
  },
});
