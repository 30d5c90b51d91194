/**
 * One node coordinates all groups. Transactions are not served: the error is the one at which
 * clients give up at once; after others they ask again and again.
 */
import { findCoordinator } from "../../wire/apis/find-coordinator.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";

const GROUP = 0;
const TRANSACTION = 1;
const NO_TRANSACTIONS = E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
const NOWHERE = { nodeId: -1, host: "", port: -1 };

function errorOf(keyType: number): { errorCode: number; errorMessage: string | null } {
  if (keyType === GROUP) return { errorCode: E.NONE, errorMessage: null };
  return keyType === TRANSACTION
    ? { errorCode: NO_TRANSACTIONS, errorMessage: "transactions are not served" }
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
