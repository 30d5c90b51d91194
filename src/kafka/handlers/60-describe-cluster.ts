/** The cluster, which is one node. */
import { describeCluster } from "../../wire/apis/describe-cluster.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";
import { clusterOperations, OPERATIONS_UNKNOWN } from "../operations.ts";

const BROKERS = 1;
const CONTROLLERS = 2;

export const describeClusterHandler = serve(describeCluster, (request, { services, peer }) => {
  const { endpointType } = request;
  const { nodeId, clusterId } = services;
  const answer = { throttleTimeMs: 0, endpointType, clusterId };
  if (endpointType !== BROKERS) {
    const known = endpointType === CONTROLLERS;
    return {
      ...answer,
      errorCode: known ? E.MISMATCHED_ENDPOINT_TYPE : E.UNSUPPORTED_ENDPOINT_TYPE,
      errorMessage: `endpoint type ${endpointType}: this port is a broker's, type ${BROKERS}`,
      controllerId: -1,
      brokers: [],
      clusterAuthorizedOperations: OPERATIONS_UNKNOWN,
    };
  }
  return {
    ...answer,
    errorCode: E.NONE,
    errorMessage: null,
    controllerId: nodeId,
    brokers: [{ brokerId: nodeId, ...peer.advertised, rack: null }],
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? clusterOperations
      : OPERATIONS_UNKNOWN,
  };
});
