/**
 * A group that is not there is Dead; from version 6 on that is an error, and says so. Each group is
 * answered once: a thousand times the same would be a thousand times as much.
 */
import type { Group } from "../../groups/group.ts";
import type { ResponseOf } from "../../wire/api.ts";
import { describeGroups } from "../../wire/apis/describe-groups.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

type Answer = ResponseOf<typeof describeGroups>["groups"][number];

const OPERATIONS_UNKNOWN = -2147483648;
const NOTHING = new Uint8Array(0);

export const describeGroupsHandler = serve(describeGroups, (request, context) => ({
  throttleTimeMs: 0,
  groups: Array.from(new Set(request.groups), (groupId) => describe(context, groupId)),
}));

function describe({ services, version }: Context, groupId: string): Answer {
  const { table } = services.groups;
  const answer: Answer = {
    errorCode: table.check(groupId, true),
    errorMessage: null,
    groupId,
    groupState: "",
    protocolType: "",
    protocolData: "",
    members: [],
    authorizedOperations: OPERATIONS_UNKNOWN,
  };
  if (answer.errorCode !== E.NONE) return answer;
  const entry = table.get(groupId);
  if (entry === undefined) {
    if (version >= 6) {
      answer.errorCode = E.GROUP_ID_NOT_FOUND;
      answer.errorMessage = `Group ${groupId} not found.`;
    }
    return { ...answer, groupState: "Dead" };
  }
  const { group } = entry;
  return {
    ...answer,
    groupState: group.state,
    protocolType: group.protocolType ?? "",
    protocolData: group.state === "Stable" ? (group.protocolName ?? "") : "",
    members: membersOf(group),
  };
}

/** What they read is known only while the group is stable. */
function membersOf(group: Group): Answer["members"] {
  const protocol = group.state === "Stable" ? (group.protocolName ?? "") : null;
  return Array.from(group.members, (m) => ({
    memberId: m.memberId,
    groupInstanceId: m.groupInstanceId,
    clientId: m.clientId,
    clientHost: m.clientHost,
    memberMetadata: (protocol === null ? undefined : m.protocols.get(protocol)) ?? NOTHING,
    memberAssignment: protocol === null ? NOTHING : m.assignment,
  }));
}
