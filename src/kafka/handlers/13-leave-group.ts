/** One member until version 2, whose error is the request's; then several, each with its own. */
import { leaveGroup } from "../../wire/apis/leave-group.ts";
import { serve } from "../handler.ts";

export const leaveGroupHandler = serve(leaveGroup, (request, { services, version }) => {
  const one = [{ memberId: request.memberId, groupInstanceId: null }];
  const leaving = version < 3 ? one : request.members;
  const { errorCode, errors } = services.groups.leave(request.groupId, leaving);
  if (version < 3) return { throttleTimeMs: 0, errorCode: errorCode || errors[0], members: [] };
  const members = errors.map((error, i) => {
    const { memberId, groupInstanceId } = leaving[i];
    return { memberId, groupInstanceId, errorCode: error };
  });
  return { throttleTimeMs: 0, errorCode, members };
});
