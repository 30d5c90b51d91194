/** What operators may ask of the groups: plain data in and out. */
import type { GroupState } from "./group-types.ts";

export type GroupSummary = {
  group: string;
  state: GroupState;
  /** Empty for a group that only stores offsets. */
  protocolType: string;
  members: number;
};

export type GroupDescription = {
  group: string;
  state: GroupState;
  protocolType: string;
  members: {
    memberId: string;
    clientId: string;
    host: string;
    /** Empty where the group's protocol is not the consumers' own. */
    assignment: [topic: string, partition: number][];
  }[];
  offsets: CommittedOffset[];
};

export type CommittedOffset = {
  topic: string;
  partition: number;
  committed: number;
  /** What the client wrote beside it; left out when it wrote nothing. */
  metadata?: string;
  /** ms; when it was committed. */
  committedAt: number;
};

export type OffsetReset = { topic: string; partition: number; offset: number };

/**
 * Rejects with a MilepostError: `group_missing`, `group_not_empty` (it has members),
 * `groups_loading` (just after a start), `topic_missing`, `partition_missing`, and what an append
 * may fail with.
 */
export interface GroupAdmin {
  list(): GroupSummary[];
  describe(group: string): GroupDescription;
  /** Its offsets go with it. */
  delete(group: string): Promise<void>;
  /** A group that is not there yet is made, with these offsets and no members. */
  resetOffsets(group: string, offsets: OffsetReset[]): Promise<void>;
}
