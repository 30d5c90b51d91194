import { api } from "../api.ts";
import { array, field, int16, int32, nullableString, string, struct } from "../schema.ts";

/** From version 3 on for several members at once (KIP-345). */
export const leaveGroup = api({
  key: 13,
  name: "LeaveGroup",
  versions: "0-5",
  flexible: "4+",
  request: {
    groupId: field("0+", string),
    memberId: field("0-2", string),
    members: field(
      "3+",
      array(
        struct({
          memberId: field("3+", string),
          groupInstanceId: field("3+", nullableString("3+"), { default: null }),
          reason: field("5+", nullableString("5+"), { default: null }),
        }),
      ),
    ),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("0+", int16),
    members: field(
      "3+",
      array(
        struct({
          memberId: field("3+", string),
          groupInstanceId: field("3+", nullableString("3+"), { default: null }),
          errorCode: field("3+", int16),
        }),
      ),
    ),
  },
});
