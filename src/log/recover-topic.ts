/** Brings one topic back at a start: its slices, its newest state, what of it is damaged. */
import { existsSync } from "node:fs";
import { MilepostError } from "../model/errors.ts";
import type { TopicRow } from "./manifest.ts";
import { recoverOpen, recoverRolled, type Bad, type RecoveryReport } from "./recovery.ts";
import { salvage } from "./salvage.ts";
import { Slice } from "./slice.ts";
import { Topic, type TopicEnvironment } from "./topic.ts";

/** `aside`: where damaged files are put. */
export function recoverTopic(
  row: TopicRow,
  config: Record<string, string>,
  on: TopicEnvironment,
  aside: string,
  report: RecoveryReport,
): Topic {
  const topic = new Topic(row, config, on);
  const { slices } = topic;
  const mend = (slice: Slice, cut: Bad[]): void => {
    // with the manifest's next commit; offsets may be given again for other records
    row.losses = (row.losses ?? 0) + 1;
    on.manifest.putTopic(row);
    slices[slices.length - 1] = salvage(topic, slice, cut, { ...on, aside }, report);
  };
  for (const sliceRow of on.manifest.slices.get(row.id) ?? []) {
    const path = topic.sliceFile(sliceRow);
    const slice = new Slice(path, sliceRow, on.environments);
    slices.push(slice);
    if (sliceRow.state !== "sealed" && !existsSync(path)) {
      throw new MilepostError("damaged", `${path} is missing`);
    }
    if (sliceRow.state !== "rolled") continue;
    recoverRolled(slice);
    if (slice.sound) continue;
    mend(slice, []);
    recoverRolled(topic.open);
  }
  for (let tries = 0; ; tries++) {
    const cut = recoverOpen(topic, report);
    if (cut.length === 0 && topic.open.sound) break;
    if (tries === 2) throw new MilepostError("damaged", `${topic.open.path}: cannot be mended`);
    mend(topic.open, cut);
  }
  const oldest = slices[0].row.starts;
  topic.partitions.forEach((log, p) => log.moveStart(oldest[p] ?? 0));
  return topic;
}

/** A manifest put back from an older copy would have a leader epoch begin twice. */
export function raiseEpoch(on: TopicEnvironment, topics: Iterable<Topic>): number {
  let newest = -1;
  for (const { partitions } of topics) {
    for (const { epochs } of partitions) newest = Math.max(newest, epochs.at(-1)?.[0] ?? -1);
  }
  if (newest >= on.epoch) {
    on.manifest.node.epoch = on.epoch = newest + 1;
    on.manifest.putNode();
    on.manifest.commit();
  }
  return on.epoch;
}
