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

export const describeGroups = api({
  key: 15,
  name: "DescribeGroups",
  versions: "0-6",
  flexible: "5+",
  request: {
    groups: field("0+", array(string)),
    includeAuthorizedOperations: field("3+", boolean),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    groups: field(
      "0+",
      array(
        struct({
          errorCode: field("0+", int16),
          errorMessage: field("6+", nullableString("6+"), { default: null }),
          groupId: field("0+", string),
          groupState: field("0+", string),
          protocolType: field("0+", string),
          protocolData: field("0+", string),
          members: field(
            "0+",
            array(
              struct({
                memberId: field("0+", string),
                groupInstanceId: field("4+", nullableString("4+"), { default: null }),
                clientId: field("0+", string),
                clientHost: field("0+", string),
                memberMetadata: field("0+", bytes),
                memberAssignment: field("0+", bytes),
              }),
            ),
          ),
          authorizedOperations: field("3+", int32, { default: -2147483648 }),
        }),
      ),
    ),
  },
});
