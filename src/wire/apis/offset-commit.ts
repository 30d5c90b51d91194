import { api } from "../api.ts";
import { array, field, int16, int32, int64, nullableString, string, struct } from "../schema.ts";

export const offsetCommit = api({
  key: 8,
  name: "OffsetCommit",
  versions: "2-9",
  flexible: "8+",
  request: {
    groupId: field("0+", string),
    generationIdOrMemberEpoch: field("1+", int32, { default: -1 }),
    memberId: field("1+", string),
    groupInstanceId: field("7+", nullableString("7+"), { default: null }),
    retentionTimeMs: field("2-4", int64, { default: -1 }),
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
                committedOffset: field("0+", int64),
                committedLeaderEpoch: field("6+", int32, { default: -1 }),
                committedMetadata: field("0+", nullableString()),
              }),
            ),
          ),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: field("3+", int32),
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
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
