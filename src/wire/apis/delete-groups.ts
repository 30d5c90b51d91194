import { api } from "../api.ts";
import { array, field, int16, int32, string, struct } from "../schema.ts";

export const deleteGroups = api({
  key: 42,
  name: "DeleteGroups",
  versions: "0-2",
  flexible: "2+",
  request: { groupsNames: field("0+", array(string)) },
  response: {
    throttleTimeMs: field("0+", int32),
    results: field(
      "0+",
      array(
        struct({
          groupId: field("0+", string),
          errorCode: field("0+", int16),
        }),
      ),
    ),
  },
});
