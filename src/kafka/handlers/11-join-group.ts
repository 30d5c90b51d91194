/** Waits until the group's next generation is known. */
import { limits } from "../../model/limits.ts";
import { joinGroup } from "../../wire/apis/join-group.ts";
import { serve } from "../handler.ts";

export const joinGroupHandler = serve(joinGroup, async (request, context) => {
  const { services, peer, version } = context;
  const { groupId, memberId, groupInstanceId, sessionTimeoutMs, protocolType } = request;
  const protocols = new Map<string, Uint8Array>();
  for (const { name, metadata } of request.protocols) {
    if (!protocols.has(name)) protocols.set(name, metadata);
  }
  const join = {
    memberId,
    groupInstanceId,
    clientId: (context.clientId ?? "").slice(0, limits.groupNameCharsMax),
    clientHost: peer.host,
    sessionTimeoutMs,
    rebalanceTimeoutMs: version === 0 ? sessionTimeoutMs : Math.max(request.rebalanceTimeoutMs, 0),
    protocolType,
    protocols,
    requiresMemberId: version >= 4,
    knowsSkipAssignment: version >= 9,
  };
  const answer = await services.groups.join(groupId, join, peer.closed);
  return answer === null ? null : { throttleTimeMs: 0, ...answer };
});
