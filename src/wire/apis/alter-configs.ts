import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int8,
  int16,
  int32,
  nullableString,
  string,
  struct,
} from "../schema.ts";

const response = {
  throttleTimeMs: field("0+", int32),
  responses: field(
    "0+",
    array(
      struct({
        errorCode: field("0+", int16),
        errorMessage: field("0+", nullableString(), { default: null }),
        resourceType: field("0+", int8),
        resourceName: field("0+", string),
      }),
    ),
  ),
};

/** Replaces all that was set. */
export const alterConfigs = api({
  key: 33,
  name: "AlterConfigs",
  versions: "0-2",
  flexible: "2+",
  request: {
    resources: field(
      "0+",
      array(
        struct({
          resourceType: field("0+", int8),
          resourceName: field("0+", string),
          configs: field(
            "0+",
            array(struct({ name: field("0+", string), value: field("0+", nullableString()) })),
          ),
        }),
      ),
    ),
    validateOnly: field("0+", boolean),
  },
  response,
});

/** Operations: 0 set, 1 delete, 2 append, 3 subtract (KIP-339). */
export const incrementalAlterConfigs = api({
  key: 44,
  name: "IncrementalAlterConfigs",
  versions: "0-1",
  flexible: "1+",
  request: {
    resources: field(
      "0+",
      array(
        struct({
          resourceType: field("0+", int8),
          resourceName: field("0+", string),
          configs: field(
            "0+",
            array(
              struct({
                name: field("0+", string),
                configOperation: field("0+", int8),
                value: field("0+", nullableString()),
              }),
            ),
          ),
        }),
      ),
    ),
    validateOnly: field("0+", boolean),
  },
  response,
});
