import { api } from "../api.ts";
import {
  array,
  field,
  int16,
  int32,
  int64,
  int8,
  nullableArray,
  nullableString,
  records,
  string,
  struct,
} from "../schema.ts";

/** `records` of a response are whole batches, the first of which holds the offset asked for. */
export const fetch = api({
  key: 1,
  name: "Fetch",
  versions: "4-12",
  flexible: "12+",
  request: {
    clusterId: field("12+", nullableString("12+"), { default: null, tag: 0 }),
    replicaId: field("0-14", int32, { default: -1 }),
    maxWaitMs: field("0+", int32),
    minBytes: field("0+", int32),
    maxBytes: field("3+", int32, { default: 0x7fffffff }),
    isolationLevel: field("4+", int8),
    sessionId: field("7+", int32),
    sessionEpoch: field("7+", int32, { default: -1 }),
    topics: field(
      "0+",
      array(
        struct({
          topic: field("0-12", string),
          partitions: field(
            "0+",
            array(
              struct({
                partition: field("0+", int32),
                currentLeaderEpoch: field("9+", int32, { default: -1 }),
                fetchOffset: field("0+", int64),
                lastFetchedEpoch: field("12+", int32, { default: -1 }),
                logStartOffset: field("5+", int64, { default: -1 }),
                partitionMaxBytes: field("0+", int32),
              }),
            ),
          ),
        }),
      ),
    ),
    forgottenTopicsData: field(
      "7+",
      array(
        struct({
          topic: field("7-12", string),
          partitions: field("7+", array(int32)),
        }),
      ),
    ),
    rackId: field("11+", string),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("7+", int16),
    sessionId: field("7+", int32),
    responses: field(
      "0+",
      array(
        struct({
          topic: field("0-12", string),
          partitions: field(
            "0+",
            array(
              struct({
                partitionIndex: field("0+", int32),
                errorCode: field("0+", int16),
                highWatermark: field("0+", int64),
                lastStableOffset: field("4+", int64, { default: -1 }),
                logStartOffset: field("5+", int64, { default: -1 }),
                abortedTransactions: field(
                  "4+",
                  nullableArray(
                    struct({
                      producerId: field("4+", int64),
                      firstOffset: field("4+", int64),
                    }),
                    "4+",
                  ),
                  { default: null },
                ),
                preferredReadReplica: field("11+", int32, { default: -1 }),
                records: field("0+", records),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
