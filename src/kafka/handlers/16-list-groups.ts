/** All groups, or those in some states or of some types; names in any case, as Kafka has it. */
import { listGroups } from "../../wire/apis/list-groups.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";

/** The only type there is: KIP-848's consumer groups are not offered. */
const TYPE = "classic";

export const listGroupsHandler = serve(listGroups, (request, { services }) => {
  const { table } = services.groups;
  if (!table.isLoaded) {
    return { throttleTimeMs: 0, errorCode: E.COORDINATOR_LOAD_IN_PROGRESS, groups: [] };
  }
  const states = request.statesFilter.map((state) => state.toLowerCase());
  const types = request.typesFilter.map((type) => type.toLowerCase());
  const isOfType = types.length === 0 || types.includes(TYPE);
  const groups = isOfType ? Array.from(table, ({ group }) => group) : [];
  return {
    throttleTimeMs: 0,
    errorCode: E.NONE,
    groups: groups
      .filter(({ state }) => states.length === 0 || states.includes(state.toLowerCase()))
      .map(({ id, state, protocolType }) => ({
        groupId: id,
        protocolType: protocolType ?? "",
        groupState: state,
        groupType: TYPE,
      })),
  };
});
