import { api } from "../api.ts";
import { array, field, int16, int32, int64, string, struct } from "../schema.ts";

export const deleteRecords = api({
  key: 21,
  name: "DeleteRecords",
  versions: "0-2",
  flexible: "2+",
  request: {
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
                offset: field("0+", int64),
              }),
            ),
          ),
        }),
      ),
    ),
    timeoutMs: field("0+", int32),
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
                lowWatermark: field("0+", int64),
                errorCode: field("0+", int16),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
