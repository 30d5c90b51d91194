import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int16,
  int32,
  int64,
  nullableArray,
  nullableString,
  string,
  struct,
} from "../schema.ts";

const requestTopic = struct({
  name: field("0+", string),
  partitionIndexes: field("0+", array(int32)),
});

/** The leader epoch begins with version 5. */
const responseTopic = struct({
  name: field("0+", string),
  partitions: field(
    "0+",
    array(
      struct({
        partitionIndex: field("0+", int32),
        committedOffset: field("0+", int64),
        committedLeaderEpoch: field("5+", int32, { default: -1 }),
        metadata: field("0+", nullableString()),
        errorCode: field("0+", int16),
      }),
    ),
  ),
});

/** From version 8 on for several groups at once (KIP-709). Null topics: all of them. */
export const offsetFetch = api({
  key: 9,
  name: "OffsetFetch",
  versions: "1-9",
  flexible: "6+",
  request: {
    groupId: field("0-7", string),
    topics: field("0-7", nullableArray(requestTopic, "2-7")),
    groups: field(
      "8+",
      array(
        struct({
          groupId: field("8+", string),
          memberId: field("9+", nullableString("9+"), { default: null }),
          memberEpoch: field("9+", int32, { default: -1 }),
          topics: field("8+", nullableArray(requestTopic, "8+")),
        }),
      ),
    ),
    requireStable: field("7+", boolean),
  },
  response: {
    throttleTimeMs: field("3+", int32),
    topics: field("0-7", array(responseTopic)),
    errorCode: field("2-7", int16),
    groups: field(
      "8+",
      array(
        struct({
          groupId: field("8+", string),
          topics: field("8+", array(responseTopic)),
          errorCode: field("8+", int16),
        }),
      ),
    ),
  },
});
