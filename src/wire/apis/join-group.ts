import { api } from "../api.ts";
import {
  array,
  boolean,
  bytes,
  field,
  int16,
  int32,
  nullableString,
  string,
  struct,
} from "../schema.ts";

export const joinGroup = api({
  key: 11,
  name: "JoinGroup",
  versions: "0-9",
  flexible: "6+",
  request: {
    groupId: field("0+", string),
    sessionTimeoutMs: field("0+", int32),
    /** Before version 1 the session timeout. */
    rebalanceTimeoutMs: field("1+", int32, { default: -1 }),
    memberId: field("0+", string),
    groupInstanceId: field("5+", nullableString("5+"), { default: null }),
    protocolType: field("0+", string),
    protocols: field(
      "0+",
      array(
        struct({
          name: field("0+", string),
          metadata: field("0+", bytes),
        }),
      ),
    ),
    reason: field("8+", nullableString("8+"), { default: null }),
  },
  response: {
    throttleTimeMs: field("2+", int32),
    errorCode: field("0+", int16),
    generationId: field("0+", int32, { default: -1 }),
    protocolType: field("7+", nullableString("7+"), { default: null }),
    protocolName: field("0+", nullableString("7+")),
    leader: field("0+", string),
    skipAssignment: field("9+", boolean),
    memberId: field("0+", string),
    members: field(
      "0+",
      array(
        struct({
          memberId: field("0+", string),
          groupInstanceId: field("5+", nullableString("5+"), { default: null }),
          metadata: field("0+", bytes),
        }),
      ),
    ),
  },
});
