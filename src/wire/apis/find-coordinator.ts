import { api } from "../api.ts";
import { array, field, int16, int32, int8, nullableString, string, struct } from "../schema.ts";

/** From version 4 on for several keys at once (KIP-699). */
export const findCoordinator = api({
  key: 10,
  name: "FindCoordinator",
  versions: "0-5",
  flexible: "3+",
  request: {
    key: field("0-3", string),
    keyType: field("1+", int8),
    coordinatorKeys: field("4+", array(string)),
  },
  response: {
    throttleTimeMs: field("1+", int32),
    errorCode: field("0-3", int16),
    errorMessage: field("1-3", nullableString("1-3"), { default: null }),
    nodeId: field("0-3", int32),
    host: field("0-3", string),
    port: field("0-3", int32),
    coordinators: field(
      "4+",
      array(
        struct({
          key: field("4+", string),
          nodeId: field("4+", int32),
          host: field("4+", string),
          port: field("4+", int32),
          errorCode: field("4+", int16),
          errorMessage: field("4+", nullableString("4+"), { default: null }),
        }),
      ),
    ),
  },
});
