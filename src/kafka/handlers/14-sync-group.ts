/** Waits until the leader has assigned and the log has it. */
import { syncGroup } from "../../wire/apis/sync-group.ts";
import { E } from "../../wire/errors.ts";
import { refusedSync } from "../../groups/rebalance.ts";
import { serve } from "../handler.ts";

export const syncGroupHandler = serve(syncGroup, async (request, { services, peer, version }) => {
  const { groupId, protocolType, protocolName } = request;
  // from version 5 on a client must say what it believes the group to speak
  if (version >= 5 && (protocolType === null || protocolName === null)) {
    return { throttleTimeMs: 0, ...refusedSync(E.INCONSISTENT_GROUP_PROTOCOL) };
  }
  const assignments = new Map(
    request.assignments.map(({ memberId, assignment }) => [memberId, assignment]),
  );
  const answer = await services.groups.sync(groupId, { ...request, assignments }, peer.closed);
  return answer === null ? null : { throttleTimeMs: 0, ...answer };
});
