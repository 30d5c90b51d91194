/** What `__consumer_offsets` says of the groups of one partition, at a start. */
import { setTimeout } from "node:timers/promises";
import type { LogPort } from "../log/client.ts";
import type { LogClient } from "../log/types.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { Malformed } from "../wire/reader.ts";
import { OFFSETS_TOPIC, PARTITIONS } from "./journal.ts";
import { Offsets } from "./offsets.ts";
import { decode, type GroupState } from "./records.ts";

const READ_BYTES = 1024 * 1024;
/** Between two tries to read a partition that is damaged, or a topic that is away. */
const RETRY_MS = 5000;

/** `state` null: offsets were committed without members. */
export type Loaded = { state: GroupState | null; offsets: Offsets };

/** Of the newest records; a record that is none is reported and passed over. */
async function loadPartition(
  log: LogClient,
  partition: number,
  report: (line: string) => void,
): Promise<Map<string, Loaded>> {
  const groups = new Map<string, Loaded>();
  const take = (key: Uint8Array, value: Uint8Array | null): void => {
    const record = decode(key, value);
    if (record === null) return;
    let loaded = groups.get(record.group);
    if (loaded === undefined) {
      if (record.value === null) return;
      groups.set(record.group, (loaded = { state: null, offsets: new Offsets() }));
    }
    const { topic, partition: p } = record.kind === "offset" ? record : { topic: "", partition: 0 };
    if (record.kind === "group") loaded.state = record.value;
    else if (record.value === null) loaded.offsets.delete(topic, p);
    else loaded.offsets.set(topic, p, record.value);
    if (loaded.state === null && loaded.offsets.size === 0) groups.delete(record.group);
  };
  let { start: next, highWatermark } = (await log.describe(OFFSETS_TOPIC))[partition];
  while (next < highWatermark) {
    const got = await log.read(OFFSETS_TOPIC, partition, next, READ_BYTES);
    for (const { key, value, offset } of got.records) {
      try {
        if (key !== null) take(key, value);
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        report(`${OFFSETS_TOPIC}/${partition} at ${offset}: ${error.message}`);
      }
    }
    // compaction leaves gaps
    next = Math.max(got.next, next + 1);
    highWatermark = got.highWatermark;
  }
  return groups;
}

/**
 * Every partition; those that cannot be read keep back their own groups only, and are tried again.
 * `tried` is called after the first round.
 */
export async function loadGroups(
  log: LogPort,
  report: (line: string) => void,
  take: (partition: number, groups: Map<string, Loaded>) => void,
  tried: () => void,
  stopped: AbortSignal,
): Promise<void> {
  let left = Array.from({ length: PARTITIONS }, (_, p) => p);
  let reported = "";
  while (!stopped.aborted) {
    const failed: number[] = [];
    const load = async (p: number): Promise<void> => {
      try {
        await keepSafe(log, report);
        take(p, await loadPartition(log, p, report));
      } catch (error) {
        if (!(error instanceof MilepostError)) throw error;
        failed.push(p);
        const line = `groups of ${OFFSETS_TOPIC}/${p} cannot be loaded: ${error.message}`;
        if (line !== reported && !stopped.aborted) report(line);
        reported = line;
      }
    };
    for (const p of left) await load(p);
    tried();
    if (failed.length === 0) return;
    left = failed;
    await setTimeout(RETRY_MS, undefined, { signal: stopped, ref: false }).catch(() => {});
  }
}

/** Commits are flushed and kept, whatever an operator or the node's defaults say. */
export async function keepSafe(log: LogPort, report: (line: string) => void): Promise<void> {
  const config = await log.call("effectiveConfig", OFFSETS_TOPIC);
  const changes: Record<string, string> = {};
  if (config["milepost.durability"] !== "flushed") changes["milepost.durability"] = "flushed";
  if (config["cleanup.policy"] !== "compact") changes["cleanup.policy"] = "compact";
  if (Number(config["max.message.bytes"]) < limits.groupRecordBytesMax) {
    changes["max.message.bytes"] = String(limits.groupRecordBytesMax);
  }
  if (Object.keys(changes).length === 0) return;
  await log.call("alterTopic", OFFSETS_TOPIC, changes);
  report(`${OFFSETS_TOPIC}: set to ${Object.values(changes).join(", ")}`);
}
