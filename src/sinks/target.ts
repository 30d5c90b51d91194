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
/** Where it goes on; `safe`: up to where all is written, when more than that is held back. */
export type Opened = TopicPartition & { next: number; safe?: number };

/**
 * Of one partition: all before `next` is safe by now, and so much of it since the last time.
 * `newestMs`: when the newest of it was received.
 */
export type Safe = TopicPartition & {
  next: number;
  rows: number;
  deadLettered: number;
  newestMs: number;
};

/** `lost`: partitions of which somebody else has published the same by now. */
export type Published = { lost: TopicPartition[]; safe: Safe[] };

/**
 * Failures: a `SinkFailure` when trying again cannot help, anything else when it may. `write` may
 * be called again with the same batch then; it writes what was not written, and that once.
 */
export interface Target {
  /** Takes the partitions from whoever had them; what was opened before is let go. */
  open(partitions: Taken[]): Promise<Opened[]>;
  /** Writes rows and offsets, all or nothing. */
  write(batch: Slice[], bury: Bury): Promise<Written>;
  /**
   * Of a target that holds back what `write` took: makes safe what is due of it, or all. Only then
   * is it counted and committed. Called after each answer of the gateway, a second apart or less.
   */
  publish?(all: boolean): Promise<Published>;
  /** What an operator does to have a partition written from its beginning. */
  startOver(partition: TopicPartition): string;
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
