import { api } from "../api.ts";
import { field, int16, int32, nullableString, string } from "../schema.ts";

export const heartbeat = api({
  key: 12,
  name: "Heartbeat",
  versions: "0-4",
  flexible: "4+",
  request: {
    groupId: field("0+", string),
    generationId: field("0+", int32),
    memberId: field("0+", string),
    groupInstanceId: field("3+", nullableString("3+"), { default: null }),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("0+", int16),
  },
});
