import type { Check } from "../lib/health.ts";
import type { GroupDescription, GroupSummary } from "../groups/admin.ts";
import type { OffsetLag } from "../groups/lag.ts";
import type { OffsetMove, Reset } from "../groups/reset.ts";
import type { TopicInfo } from "../log/types.ts";
import type { TopicConfig } from "../model/topic-config.ts";

export type PartitionDescription = {
  partition: number;
  start: number;
  end: number;
  highWatermark: number;
  leader: number;
  leaderEpoch: number;
  replicas: number[];
  isr: number[];
};

/** Settings with their defaults filled in. */
export type TopicDescription = {
  topic: string;
  config: Record<string, string>;
  partitions: PartitionDescription[];
};

export type GroupStanding = Omit<GroupDescription, "offsets"> & { offsets: OffsetLag[] };

/** null takes a setting back to its default; `partitions` null leaves their number alone. */
export type TopicChange = {
  config: Record<string, string | null>;
  partitions: number | null;
};

/** What the admin port needs of the node. Refusals are MilepostErrors. */
export interface AdminBackend {
  topics(): TopicInfo[];
  describe(name: string): Promise<TopicDescription>;
  createTopic(name: string, partitions: number, config: TopicConfig): Promise<void>;
  alterTopic(name: string, change: TopicChange): Promise<void>;
  deleteTopic(name: string): Promise<void>;
  /** Moves readers past the first damage; the offsets skipped, `to` not among them. */
  skipDamage(name: string, partition: number): Promise<{ from: number; to: number } | null>;
  groups(): Promise<GroupSummary[]>;
  describeGroup(group: string): Promise<GroupStanding>;
  /** Its offsets go with it. */
  deleteGroup(group: string): Promise<void>;
  /** What became of each partition's offset, or would. */
  resetGroup(group: string, reset: Reset): Promise<OffsetMove[]>;
  /** Resolves once the command is in topic `commands`. */
  command(driver: string, bytes: Uint8Array): Promise<{ partition: number; offset: number }>;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** `ok` false: a ping accepted here cannot be acknowledged now. */
  checks(): Check[];
}
