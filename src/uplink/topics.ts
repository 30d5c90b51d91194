/** The topics that live in the cluster, there and in this log, which buffers in front of them. */
import type { LogPort } from "../log/client.ts";
import type { TopicInfo } from "../log/types.ts";
import { limits } from "../model/limits.ts";
import { MilepostError } from "../model/errors.ts";
import { type BuiltInTopic, isReserved } from "../model/topic-config.ts";
import type { NewTopic, Target, TargetView } from "./target.ts";

export const mirroredTopics = (topics: readonly TopicInfo[]): TopicInfo[] =>
  topics.filter(({ name }) => !isReserved(name));

/** What Kafka knows of a topic's settings. */
function settingsThere(config: Record<string, string>): Record<string, string> {
  const known = Object.entries(config).filter(([name]) => {
    return !name.startsWith("milepost.") && name !== "replication.factor";
  });
  return Object.fromEntries(known);
}

/** Makes topics that are not there; who leads what. */
export async function createMissing(
  target: Target,
  topics: readonly NewTopic[],
  report: (line: string) => void,
): Promise<TargetView> {
  const names = topics.map(({ name }) => name);
  const view = await target.view(names);
  const missing = topics.filter(({ name }) => !view.topics.has(name));
  if (missing.length === 0) return view;
  await target.createTopics(
    missing.map(({ name, partitions, config }) => {
      return { name, partitions, config: settingsThere(config) };
    }),
  );
  const made = missing.map(({ name }) => name).join(", ");
  report(`uplink: made in the cluster: ${made}`);
  // the broker that is asked may hear of them later than the one that made them
  const until = performance.now() + limits.clusterAnswerMsMax;
  for (;;) {
    const after = await target.view(names);
    const isComplete = names.every((name) => after.topics.has(name));
    if (isComplete || performance.now() > until) return after;
    await new Promise((resolve) => setTimeout(resolve, limits.clusterRetryMsMin));
  }
}

/** A topic that has more partitions there gets them here, too: new pings go by the new number. */
export async function growLocal(
  log: LogPort,
  view: TargetView,
  report: (line: string) => void,
): Promise<void> {
  for (const { name, partitions } of mirroredTopics(log.topics())) {
    const there = view.topics.get(name)?.leaders.length ?? 0;
    if (there <= partitions) continue;
    await log.call("addPartitions", name, there);
    report(`uplink: topic ${name} has ${there} partitions now, as in the cluster`);
  }
}

/** The topics of this log with the cluster's numbers of partitions, made where they are missing. */
export async function createLocal(
  log: LogPort,
  wanted: readonly BuiltInTopic[],
  view: TargetView,
): Promise<void> {
  for (const { name, config } of wanted) {
    const there = view.topics.get(name)?.leaders.length ?? 0;
    if (there === 0) throw new MilepostError("uplink", `topic ${name} is not there`);
    if (log.topic(name) === null) await log.call("createTopic", name, there, config);
  }
}
