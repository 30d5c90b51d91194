import { api } from "../api.ts";
import { array, field, int16, int32, int64, int8, string, struct } from "../schema.ts";

/** Timestamps below 0 are names: see the handler. */
export const listOffsets = api({
  key: 2,
  name: "ListOffsets",
  versions: "1-7",
  flexible: "6+",
  request: {
    replicaId: field("0+", int32, { default: -1 }),
    isolationLevel: field("2+", int8),
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitions: field(
            "0+",
            array(
              struct({
                partitionIndex: field("0+", int32),
                currentLeaderEpoch: field("4+", int32, { default: -1 }),
                timestamp: field("0+", int64),
              }),
            ),
          ),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: field("2+", int32),
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitions: field(
            "0+",
            array(
              struct({
                partitionIndex: field("0+", int32),
                errorCode: field("0+", int16),
                timestamp: field("1+", int64, { default: -1 }),
                offset: field("1+", int64, { default: -1 }),
                leaderEpoch: field("4+", int32, { default: -1 }),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
