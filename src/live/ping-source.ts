/** Where pings come from: the log of this gateway, or the topic of a cluster behind an uplink. */
import type { TrackedTo, Tracker } from "./tracker.ts";

export interface PingSource {
  /**
   * Gives the tracker its partitions, each from where a checkpoint of this very topic ends, and
   * from now on what is in them. False: it is away for now; partitions are as the checkpoint has
   * them, or not known yet.
   */
  start(tracker: Tracker, from: TrackedTo | null): Promise<boolean>;
  stop(): void;
  /** ms without a sign of life; 0: it is there. */
  readonly silentMs: number;
}
