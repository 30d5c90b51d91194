/** Groups without members; their offsets go with them. */
import { deleteGroups } from "../../wire/apis/delete-groups.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

export const deleteGroupsHandler = serve(deleteGroups, async (request, context) => {
  const results = request.groupsNames.map(async (groupId) => {
    return { groupId, errorCode: await remove(context, groupId) };
  });
  return { throttleTimeMs: 0, results: await Promise.all(results) };
});

async function remove({ services }: Context, groupId: string): Promise<number> {
  const { table, commits } = services.groups;
  const error = table.check(groupId, true);
  if (error !== E.NONE) return error;
  const entry = table.get(groupId);
  if (entry === undefined) return E.GROUP_ID_NOT_FOUND;
  return entry.group.state === "Empty" ? commits.deleteGroup(entry) : E.NON_EMPTY_GROUP;
}
