/** What a database must offer to the worker: all that differs between one and another. */

/** `topicId` tells a topic from one of the same name that was made anew. */
export type TopicPartition = { topic: string; topicId: string; partition: number };

/** Records `[start, end)` of one partition, in RecordBatches that may hold more at either end. */
export type Slice = TopicPartition & { start: number; end: number; batches: Uint8Array[] };

/** A record that cannot be written, and why. */
export type DeadLetter = {
  topic: string;
  partition: number;
  offset: number;
  timestamp: number;
  key: Uint8Array | null;
  value: Uint8Array | null;
  reason: string;
};

/** Keeps dead letters; when it resolves they are safe. */
export type Bury = (letters: DeadLetter[]) => Promise<void>;

export type Written = {
  /** Partitions that are another worker's by now: nothing of the batch was written. */
  lost: TopicPartition[];
  /** By partition of the batch, in its order. */
  rows: number[];
  deadLettered: number[];
};

/** `first`: where to begin when nothing of it was ever written. */
export type Taken = TopicPartition & { first: number };
/** Where it goes on. */
export type Opened = TopicPartition & { next: number };

/**
 * Failures: a `SinkFailure` when trying again cannot help, anything else when it may. `write` may
 * be called again with the same batch then; it writes what was not written, and that once.
 */
export interface Target {
  /** Takes the partitions from whoever had them; what was opened before is let go. */
  open(partitions: Taken[]): Promise<Opened[]>;
  /** Writes rows and offsets, all or nothing. */
  write(batch: Slice[], bury: Bury): Promise<Written>;
  /** Of one that hangs, `now` waits for nothing. */
  close(now?: boolean): Promise<void>;
}

/** What trying again cannot help; the message names the next step. */
export class SinkFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CommandFailure";
  }
}

export function placeOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`;
}
