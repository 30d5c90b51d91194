import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int8,
  int16,
  int32,
  nullableArray,
  nullableString,
  string,
  struct,
} from "../schema.ts";

/** Null keys: all of them. Version 0 says only whether a value is the default. */
export const describeConfigs = api({
  key: 32,
  name: "DescribeConfigs",
  versions: "0-4",
  flexible: "4+",
  request: {
    resources: field(
      "0+",
      array(
        struct({
          resourceType: field("0+", int8),
          resourceName: field("0+", string),
          configurationKeys: field("0+", nullableArray(string)),
        }),
      ),
    ),
    includeSynonyms: field("1+", boolean),
    includeDocumentation: field("3+", boolean),
  },
  response: {
    throttleTimeMs: field("0+", int32),
    results: field(
      "0+",
      array(
        struct({
          errorCode: field("0+", int16),
          errorMessage: field("0+", nullableString(), { default: null }),
          resourceType: field("0+", int8),
          resourceName: field("0+", string),
          configs: field(
            "0+",
            array(
              struct({
                name: field("0+", string),
                value: field("0+", nullableString()),
                readOnly: field("0+", boolean),
                isDefault: field("0", boolean),
                configSource: field("1+", int8, { default: -1 }),
                isSensitive: field("0+", boolean),
                synonyms: field(
                  "1+",
                  array(
                    struct({
                      name: field("1+", string),
                      value: field("1+", nullableString()),
                      source: field("1+", int8),
                    }),
                  ),
                ),
                configType: field("3+", int8),
                documentation: field("3+", nullableString(), { default: null }),
              }),
            ),
          ),
        }),
      ),
    ),
  },
});
