import { api } from "../api.ts";
import { array, field, int16, int32, int64, string, struct } from "../schema.ts";

/** KIP-101, KIP-279, KIP-320. */
export const offsetForLeaderEpoch = api({
  key: 23,
  name: "OffsetForLeaderEpoch",
  versions: "2-4",
  flexible: "4+",
  request: {
    replicaId: field("3+", int32, { default: -2 }),
    topics: field(
      "0+",
      array(
        struct({
          topic: field("0+", string),
          partitions: field(
            "0+",
            array(
              struct({
                partition: field("0+", int32),
                currentLeaderEpoch: field("2+", int32, { default: -1 }),
                leaderEpoch: field("0+", int32),
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
          topic: field("0+", string),
          partitions: field(
            "0+",
            array(
              struct({
                errorCode: field("0+", int16),
                partition: field("0+", int32),
                leaderEpoch: field("1+", int32, { default: -1 }),
                endOffset: field("0+", int64, { default: -1 }),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
