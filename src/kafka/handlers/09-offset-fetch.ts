/** What was committed last; -1 where nothing was. There are no transactions to wait for. */
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { offsetFetch } from "../../wire/apis/offset-fetch.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

type Topics = RequestOf<typeof offsetFetch>["topics"];
type Answer = ResponseOf<typeof offsetFetch>["groups"][number];

function fetch({ services }: Context, groupId: string, topics: Topics): Answer {
  return { groupId, ...services.groups.commits.fetch(groupId, topics) };
}

export const offsetFetchHandler = serve(offsetFetch, (request, context) => {
  // each group is answered once: all of its offsets may be many
  const asked = new Map(request.groups.map(({ groupId, topics }) => [groupId, topics]));
  const groups = Array.from(asked, ([groupId, topics]) => fetch(context, groupId, topics));
  const answer = { throttleTimeMs: 0, topics: [], errorCode: E.NONE, groups };
  if (context.version >= 8) return answer;
  const { topics, errorCode } = fetch(context, request.groupId, request.topics);
  // version 1 has no place for an error but the partitions
  const failed = context.version === 1 && errorCode !== E.NONE;
  return { ...answer, errorCode, topics: failed ? refused(request.topics, errorCode) : topics };
});

function refused(topics: Topics, errorCode: number): Answer["topics"] {
  return (topics ?? []).map(({ name, partitionIndexes }) => ({
    name,
    partitions: partitionIndexes.map((partitionIndex) => {
      const nothing = { committedOffset: -1, committedLeaderEpoch: -1, metadata: "" };
      return { partitionIndex, ...nothing, errorCode };
    }),
  }));
}
