import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int16,
  int32,
  int64,
  nullableArray,
  string,
  struct,
} from "../schema.ts";

/** Null topics: all of them. */
export const describeLogDirs = api({
  key: 35,
  name: "DescribeLogDirs",
  versions: "1-4",
  flexible: "2+",
  request: {
    topics: field(
      "0+",
      nullableArray(struct({ topic: field("0+", string), partitions: field("0+", array(int32)) })),
    ),
  },
  response: {
    throttleTimeMs: field("0+", int32),
    errorCode: field("3+", int16),
    results: field(
      "0+",
      array(
        struct({
          errorCode: field("0+", int16),
          logDir: field("0+", string),
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
                      partitionSize: field("0+", int64),
                      offsetLag: field("0+", int64),
                      isFutureKey: field("0+", boolean),
                    }),
                  ),
                ),
              }),
            ),
          ),
          totalBytes: field("4+", int64, { default: -1 }),
          usableBytes: field("4+", int64, { default: -1 }),
        }),
      ),
    ),
  },
});
