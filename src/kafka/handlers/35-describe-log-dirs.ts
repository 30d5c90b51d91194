/** How much each partition has on disk. A partition that is not here is left out, as in Kafka. */
import { statfs } from "node:fs/promises";
import { MilepostError } from "../../model/errors.ts";
import type { ResponseOf } from "../../wire/api.ts";
import { describeLogDirs } from "../../wire/apis/describe-log-dirs.ts";
import { E } from "../../wire/errors.ts";
import { type Context, serve } from "../handler.ts";

type TopicAnswer = ResponseOf<typeof describeLogDirs>["results"][number]["topics"][number];

export const describeLogDirsHandler = serve(describeLogDirs, async (request, context) => {
  const { log, dataDir } = context.services;
  /** Null: all of its partitions. */
  const wanted = new Map<string, Set<number> | null>();
  if (request.topics === null) for (const { name } of log.topics()) wanted.set(name, null);
  for (const { topic, partitions } of request.topics ?? []) {
    const those = wanted.get(topic) ?? new Set();
    for (const partition of partitions) those.add(partition);
    wanted.set(topic, those);
  }
  const topics: TopicAnswer[] = [];
  for (const [name, partitions] of wanted) {
    const topic = await describeTopic(name, partitions, context);
    if (topic.partitions.length > 0) topics.push(topic);
  }
  const { blocks, bavail, bsize } = await statfs(dataDir);
  const result = { errorCode: E.NONE, logDir: dataDir, topics };
  const space = { totalBytes: blocks * bsize, usableBytes: bavail * bsize };
  return { throttleTimeMs: 0, errorCode: E.NONE, results: [{ ...result, ...space }] };
});

async function describeTopic(
  name: string,
  wanted: Set<number> | null,
  { services }: Context,
): Promise<TopicAnswer> {
  const answer: TopicAnswer = { name, partitions: [] };
  if (services.log.topic(name) === null) return answer;
  try {
    for (const { partition, bytes } of await services.log.describe(name)) {
      if (wanted !== null && !wanted.has(partition)) continue;
      answer.partitions.push({
        partitionIndex: partition,
        partitionSize: bytes,
        offsetLag: 0,
        isFutureKey: false,
      });
    }
  } catch (error) {
    // deleted meanwhile
    if (!(error instanceof MilepostError && error.code === "topic_missing")) throw error;
  }
  return answer;
}
