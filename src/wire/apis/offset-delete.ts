import { api } from "../api.ts";
import { array, field, int16, int32, string, struct } from "../schema.ts";

export const offsetDelete = api({
  key: 47,
  name: "OffsetDelete",
  versions: "0",
  flexible: null,
  request: {
    groupId: field("0+", string),
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitions: field("0+", array(struct({ partitionIndex: field("0+", int32) }))),
        }),
      ),
    ),
  },
  response: {
    errorCode: field("0+", int16),
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
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
