/** One node coordinates all groups. There are no transactions, and who looks for them is told. */
import { findCoordinator } from "../../wire/apis/find-coordinator.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";

const GROUP = 0;
const TRANSACTION = 1;
const NOWHERE = { nodeId: -1, host: "", port: -1 };

function errorOf(keyType: number): { errorCode: number; errorMessage: string | null } {
  if (keyType === GROUP) return { errorCode: E.NONE, errorMessage: null };
  return keyType === TRANSACTION
    ? { errorCode: E.UNSUPPORTED_VERSION, errorMessage: "transactions are not offered" }
    : { errorCode: E.INVALID_REQUEST, errorMessage: `there are no keys of type ${keyType}` };
}

export const findCoordinatorHandler = serve(findCoordinator, (request, { services, peer }) => {
  const error = errorOf(request.keyType);
  const here = { nodeId: services.nodeId, ...peer.advertised };
  const place = error.errorCode === E.NONE ? here : NOWHERE;
  return {
    throttleTimeMs: 0,
    ...error,
    ...place,
    coordinators: request.coordinatorKeys.map((key) => ({ key, ...error, ...place })),
  };
});
