/** Offsets of topics that a group's consumers subscribe to stay. */
import { offsetDelete } from "../../wire/apis/offset-delete.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";

export const offsetDeleteHandler = serve(offsetDelete, async (request, { services }) => {
  const places = request.topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
  );
  const { commits } = services.groups;
  const { errorCode, errors } = await commits.deleteOffsets(request.groupId, places);
  if (errorCode !== E.NONE) return { errorCode, throttleTimeMs: 0, topics: [] };
  let at = 0;
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map(({ partitionIndex }) => ({
      partitionIndex,
      errorCode: errors[at++],
    })),
  }));
  return { errorCode, throttleTimeMs: 0, topics };
});
