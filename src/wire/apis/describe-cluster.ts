import { api } from "../api.ts";
import {
  array,
  boolean,
  field,
  int8,
  int16,
  int32,
  nullableString,
  string,
  struct,
} from "../schema.ts";

/** Endpoints: 1 brokers, 2 controllers (KIP-919). */
export const describeCluster = api({
  key: 60,
  name: "DescribeCluster",
  versions: "0-1",
  flexible: "0+",
  request: {
    includeClusterAuthorizedOperations: field("0+", boolean),
    endpointType: field("1+", int8, { default: 1 }),
  },
  response: {
    throttleTimeMs: field("0+", int32),
    errorCode: field("0+", int16),
    errorMessage: field("0+", nullableString(), { default: null }),
    endpointType: field("1+", int8, { default: 1 }),
    clusterId: field("0+", string),
    controllerId: field("0+", int32, { default: -1 }),
    brokers: field(
      "0+",
      array(
        struct({
          brokerId: field("0+", int32),
          host: field("0+", string),
          port: field("0+", int32),
          rack: field("0+", nullableString(), { default: null }),
        }),
      ),
    ),
    clusterAuthorizedOperations: field("0+", int32, { default: -2147483648 }),
  },
});
