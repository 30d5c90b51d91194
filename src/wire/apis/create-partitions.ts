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
} from "../schema.ts";

/** `count` is how many there shall be in all; `assignments` is of the new ones. */
export const createPartitions = api({
  key: 37,
  name: "CreatePartitions",
  versions: "0-3",
  flexible: "2+",
  request: {
    topics: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          count: field("0+", int32),
          assignments: field("0+", nullableArray(struct({ brokerIds: field("0+", array(int32)) }))),
        }),
      ),
    ),
    timeoutMs: field("0+", int32),
    validateOnly: field("0+", boolean),
  },
  response: {
    throttleTimeMs: field("0+", int32),
    results: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          errorCode: field("0+", int16),
          errorMessage: field("0+", nullableString(), { default: null }),
        }),
      ),
    ),
  },
});
