import { api } from "../api.ts";
import { array, field, int16, int32, int64, nullableString, string, struct } from "../schema.ts";

/** KIP-664. The producer's epoch has 32 bits here, 16 everywhere else. */
export const describeProducers = api({
  key: 61,
  name: "DescribeProducers",
  versions: "0",
  flexible: "0+",
  request: {
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitionIndexes: field("0+", array(int32)),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: field("0+", int32),
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
                errorMessage: field("0+", nullableString(), { default: null }),
                activeProducers: field(
                  "0+",
                  array(
                    struct({
                      producerId: field("0+", int64),
                      producerEpoch: field("0+", int32),
                      lastSequence: field("0+", int32, { default: -1 }),
                      lastTimestamp: field("0+", int64, { default: -1 }),
                      coordinatorEpoch: field("0+", int32),
                      currentTxnStartOffset: field("0+", int64, { default: -1 }),
                    }),
                  ),
                ),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
