import { api } from "../api.ts";
import { array, field, int16, int32, string, struct } from "../schema.ts";

export const listGroups = api({
  key: 16,
  name: "ListGroups",
  versions: "0-5",
  flexible: "3+",
  request: {
    statesFilter: field("4+", array(string)),
    typesFilter: field("5+", array(string)),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("0+", int16),
    groups: field(
      "0+",
      array(
        struct({
          groupId: field("0+", string),
          protocolType: field("0+", string),
          groupState: field("4+", string),
          groupType: field("5+", string),
        }),
      ),
    ),
  },
});
