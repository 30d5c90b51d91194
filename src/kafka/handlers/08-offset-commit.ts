/** Answered once the log has it; an error for each partition. */
import { offsetCommit } from "../../wire/apis/offset-commit.ts";
import { serve } from "../handler.ts";

export const offsetCommitHandler = serve(offsetCommit, async (request, { services, version }) => {
  const offsets = request.topics.flatMap(({ name, partitions }) =>
    partitions.map((p) => ({
      topic: name,
      partition: p.partitionIndex,
      offset: p.committedOffset,
      leaderEpoch: p.committedLeaderEpoch,
      metadata: p.committedMetadata ?? "",
    })),
  );
  const errors = await services.groups.commits.commit({
    group: request.groupId,
    member: request,
    generation: request.generationIdOrMemberEpoch,
    retentionMs: request.retentionTimeMs,
    knowsGroupNotFound: version >= 9,
    offsets,
  });
  let at = 0;
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex }) => ({
      partitionIndex,
      errorCode: errors[at++],
    })),
  }));
  return { throttleTimeMs: 0, topics };
});
