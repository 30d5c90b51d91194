/** Where a group shall go on: what operators say, and the offsets it means. */
import { fixTime } from "../codec/time.ts";
import type { LogPort } from "../log/client.ts";
import { offsetForTime } from "../log/offset-for-time.ts";
import type { LogReader } from "../log/reader.ts";
import type { PartitionState } from "../log/types.ts";
import { MilepostError } from "../model/errors.ts";
import type { CommittedOffset, GroupAdmin } from "./admin.ts";
import { boundsOf } from "./lag.ts";

export type ResetTarget =
  | { kind: "earliest" | "latest" }
  | { kind: "offset"; offset: number }
  | { kind: "time"; timeMs: number }
  | { kind: "shift"; by: number };

export type Reset = {
  to: ResetTarget;
  /** null: every partition of which the group has committed something. */
  topic: string | null;
  /** null: all of them. */
  partition: number | null;
  /** Only tells what would become of the offsets. */
  dryRun: boolean;
};

/** `from` is null where nothing was committed. */
export type OffsetMove = { topic: string; partition: number; from: number | null; to: number };

/** `earliest`, `latest`, an offset, `@` and a time in ms or ISO, `+N` or `-N`; null for others. */
export function parseResetTarget(text: string): ResetTarget | null {
  if (text === "earliest" || text === "latest") return { kind: text };
  if (/^\d{1,15}$/.test(text)) return { kind: "offset", offset: Number(text) };
  if (/^[+-]\d{1,15}$/.test(text)) return { kind: "shift", by: Number(text) };
  if (!text.startsWith("@")) return null;
  const time = text.slice(1);
  const timeMs = /^\d{1,15}$/.test(time) ? Number(time) : fixTime(time);
  return timeMs === null ? null : { kind: "time", timeMs };
}

export class GroupReset {
  readonly #groups: GroupAdmin;
  readonly #log: LogPort;
  readonly #reader: LogReader;

  constructor(groups: GroupAdmin, log: LogPort, reader: LogReader) {
    this.#groups = groups;
    this.#log = log;
    this.#reader = reader;
  }

  /** Refused while the group has members: they would go on as before, and commit over it. */
  async run(group: string, reset: Reset): Promise<OffsetMove[]> {
    const committed = this.#committed(group, reset);
    const moves: OffsetMove[] = [];
    for (const [topic, states] of await this.#partitions(committed, reset)) {
      for (const state of states) {
        const { partition } = state;
        const known = committed.find((o) => o.topic === topic && o.partition === partition);
        const from = known?.committed ?? null;
        if (from === null && (reset.topic === null || reset.to.kind === "shift")) continue;
        moves.push({
          topic,
          partition,
          from,
          to: await this.#target(topic, state, from, reset.to),
        });
      }
    }
    if (!reset.dryRun && moves.length > 0) {
      const offsets = moves.map(({ topic, partition, to }) => ({ topic, partition, offset: to }));
      await this.#groups.resetOffsets(group, offsets);
    }
    return moves;
  }

  #committed(group: string, { topic }: Reset): CommittedOffset[] {
    try {
      const { members, offsets } = this.#groups.describe(group);
      if (members.length === 0) return offsets;
    } catch (error) {
      // a group may get its offsets before it first comes
      const missing = error instanceof MilepostError && error.code === "group_missing";
      if (missing && topic !== null) return [];
      throw error;
    }
    throw new MilepostError("group_not_empty", `${group}: stop them first`);
  }

  async #partitions(
    committed: CommittedOffset[],
    { topic, partition }: Reset,
  ): Promise<Map<string, PartitionState[]>> {
    if (topic === null) return boundsOf(this.#log, new Set(committed.map((o) => o.topic)));
    const states = (await boundsOf(this.#log, [topic])).get(topic);
    if (states === undefined) throw new MilepostError("topic_missing", topic);
    if (partition === null) return new Map([[topic, states]]);
    if (partition < states.length) return new Map([[topic, [states[partition]]]]);
    throw new MilepostError("partition_missing", `${topic}/${partition}`);
  }

  /** An offset that is not there gives way to the nearest that is. */
  async #target(
    topic: string,
    { partition, start, highWatermark: end }: PartitionState,
    from: number | null,
    to: ResetTarget,
  ): Promise<number> {
    const within = (offset: number): number => Math.min(Math.max(offset, start), end);
    switch (to.kind) {
      case "earliest":
        return start;
      case "latest":
        return end;
      case "offset":
        return within(to.offset);
      case "shift":
        return within((from ?? end) + to.by);
      case "time": {
        const found = await offsetForTime(this.#log, this.#reader, topic, partition, to.timeMs);
        // nothing is that late: what comes next will be
        return found === null ? end : within(found.offset);
      }
    }
  }
}
