import { api } from "../api.ts";
import { array, field, int16, int32, nullableString, string, struct, uuid } from "../schema.ts";

/** From version 6 on a topic is given by its name or its id. */
export const deleteTopics = api({
  key: 20,
  name: "DeleteTopics",
  versions: "0-6",
  flexible: "4+",
  request: {
    topics: field(
      "6+",
      array(
        struct({
          name: field("6+", nullableString(), { default: null }),
          topicId: field("6+", uuid),
        }),
      ),
    ),
    topicNames: field("0-5", array(string)),
    timeoutMs: field("0+", int32),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    responses: field(
      "0+",
      array(
        struct({
          name: field("0+", nullableString("6+")),
          topicId: field("6+", uuid),
          errorCode: field("0+", int16),
          errorMessage: field("5+", nullableString(), { default: null }),
        }),
      ),
    ),
  },
});
