import { api } from "../api.ts";
import {
  array,
  field,
  int16,
  int32,
  int64,
  nullableString,
  records,
  string,
  struct,
} from "../schema.ts";

/** One batch a partition. Versions 0 to 2 carry message sets and are read only to be refused. */
export const produce = api({
  key: 0,
  name: "Produce",
  versions: "0-10",
  flexible: "9+",
  request: {
    transactionalId: field("3+", nullableString("3+"), { default: null }),
    acks: field("0+", int16),
    timeoutMs: field("0+", int32),
    topicData: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitionData: field(
            "0+",
            array(
              struct({
                index: field("0+", int32),
                records: field("0+", records),
              }),
            ),
          ),
        }),
      ),
    ),
  },
  response: {
    responses: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          partitionResponses: field(
            "0+",
            array(
              struct({
                index: field("0+", int32),
                errorCode: field("0+", int16),
                baseOffset: field("0+", int64),
                logAppendTimeMs: field("2+", int64, { default: -1 }),
                logStartOffset: field("5+", int64, { default: -1 }),
                recordErrors: field(
                  "8+",
                  array(
                    struct({
                      batchIndex: field("8+", int32),
                      batchIndexErrorMessage: field("8+", nullableString("8+"), { default: null }),
                    }),
                  ),
                ),
                errorMessage: field("8+", nullableString("8+"), { default: null }),
              }),
            ),
          ),
        }),
      ),
    ),
    throttleTimeMs: field("1+", int32),
  },
});
