import { api } from "../api.ts";
import { array, bytes, field, int16, int32, nullableString, string, struct } from "../schema.ts";

export const syncGroup = api({
  key: 14,
  name: "SyncGroup",
  versions: "0-5",
  flexible: "4+",
  request: {
    groupId: field("0+", string),
    generationId: field("0+", int32),
    memberId: field("0+", string),
    groupInstanceId: field("3+", nullableString("3+"), { default: null }),
    protocolType: field("5+", nullableString("5+"), { default: null }),
    protocolName: field("5+", nullableString("5+"), { default: null }),
    assignments: field(
      "0+",
      array(
        struct({
          memberId: field("0+", string),
          assignment: field("0+", bytes),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("0+", int16),
    protocolType: field("5+", nullableString("5+"), { default: null }),
    protocolName: field("5+", nullableString("5+"), { default: null }),
    assignment: field("0+", bytes),
  },
});
