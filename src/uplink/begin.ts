/** How an uplink begins: what it was, what the cluster has, and the topics on both sides. */
import type { LogPort } from "../log/client.ts";
import type { TopicInfo } from "../log/types.ts";
import { atMost } from "../lib/at-most.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { builtInTopics, isReserved } from "../model/topic-config.ts";
import { listItems } from "../model/topic-settings.ts";
import type { Standing } from "./forwarding.ts";
import { isTemporary, isUnreachable, reasonOf } from "./kafka-errors.ts";
import type { Standings, StandingsFile } from "./standings-file.ts";
import type { Target, TargetView } from "./target.ts";
import { createLocal, createMissing, growLocal, mirroredTopics } from "./topics.ts";

export type Begun = { standings: Standings; home: number; view: TargetView | null };

/**
 * Resolves with the topics made on both sides and the standings on disk. Throws `uplink` when the
 * cluster does not answer and what it would have said is not known from before.
 */
export async function begin(
  log: LogPort,
  target: Target,
  file: StandingsFile,
  regions: boolean,
  report: (line: string) => void,
): Promise<Begun> {
  const kept = await file.read();
  const wanted = builtInTopics.filter(({ name }) => {
    return !isReserved(name) && (regions || name !== "positions-by-cell");
  });
  const missing = wanted.filter(({ name }) => log.topic(name) === null);
  const here = mirroredTopics(log.topics());
  let view: TargetView | null = null;
  let producer = kept?.producer;
  try {
    view = await reached(() => createMissing(target, [...here, ...missing], report));
    producer ??= await reached(() => target.newProducer());
    await createLocal(log, missing, view);
    await growLocal(log, view, report);
  } catch (error) {
    const reason = reasonOf(error);
    if (producer === undefined || missing.length > 0) {
      const next = "a first start needs it, to learn of its topics; look at --uplink";
      throw new MilepostError("uplink", `${reason}; ${next}`);
    }
    view = null;
    report(`uplink: the cluster does not answer: ${reason}; pings are kept here until it does`);
  }
  const home = await file.home();
  // the producer of a copy is not its own
  const standings: Standings = { producer, home: kept?.home ?? home, topics: {} };
  for (const topic of mirroredTopics(log.topics())) {
    const before = kept?.topics[topic.name];
    const there = view?.topics.get(topic.name)?.id ?? before?.there ?? "";
    const rows = before?.here === topic.id ? before.partitions : [];
    const partitions = await standingsOf(log, topic, rows);
    standings.topics[topic.name] = { there, here: topic.id, partitions };
  }
  if (!(await file.write(standings))) throw new MilepostError("disk_full", "uplink.json");
  return { standings, home, view };
}

async function standingsOf(log: LogPort, topic: TopicInfo, kept: Standing[]): Promise<Standing[]> {
  const states = await log.describe(topic.name);
  // of a compacted topic there is no whole history to begin with
  const isCompacted = listItems(topic.config["cleanup.policy"] ?? "").includes("compact");
  return states.map(({ partition, start, end }) => {
    const row = kept[partition];
    if (row === undefined) {
      const acked = isCompacted ? end : start;
      return { origin: acked, acked, cut: acked };
    }
    // this log may have lost its end, which the cluster has: asked about before more is written
    return {
      origin: row.origin,
      acked: Math.min(row.acked, end),
      cut: Math.min(row.cut ?? end, end),
    };
  });
}

/** A cluster that has only just begun answers that it is loading: it is asked again. */
async function reached<T>(work: () => Promise<T>): Promise<T> {
  const until = performance.now() + limits.uplinkStartMsMax;
  for (;;) {
    try {
      return await inTime(work());
    } catch (error) {
      const mayHelp = isTemporary(error) && !isUnreachable(error);
      if (!mayHelp || performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, limits.clusterRetryMsMin));
    }
  }
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const done = await atMost(
    limits.uplinkStartMsMax,
    work.then((value) => ({ value })),
  );
  if (done === undefined) throw new Error("no answer");
  return done.value;
}
