/**
 * Which slices of a topic may go: whole ones, from the oldest on, never the open one. The slice
 * after a deleted one carries all state in its headers, which were on disk before its first
 * append.
 */
import type { Topic } from "./topic.ts";

/** Files unlinked in one step: each may be a quarter of a gigabyte. */
const SLICES_PER_STEP = 4;

/** An open slice that is too old, or expired as a whole, has to be rolled first. */
export function mustRoll(topic: Topic, nowMs: number): boolean {
  const { row } = topic.open;
  if (row.batches === 0) return false;
  return nowMs - row.firstAppendMs > topic.sliceMs || expired(topic, row.newestAppendMs, nowMs);
}

/** How many of the oldest slices go now. */
export function removable(topic: Topic, nowMs: number): number {
  const { slices, settings } = topic;
  const bytesMax = settings.retentionBytes * topic.partitions.length;
  let bytes = topic.bytes;
  let count = 0;
  while (count < Math.min(slices.length - 1, SLICES_PER_STEP)) {
    const slice = slices[count];
    const { newestAppendMs, ends } = slice.row;
    const old = settings.delete && expired(topic, newestAppendMs, nowMs);
    const over = settings.delete && settings.retentionBytes >= 0 && bytes > bytesMax;
    const below = ends.every((end, p) => end <= topic.partitions[p].start);
    if (!old && !over && !below) break;
    bytes -= slice.bytes;
    count++;
  }
  return count;
}

function expired(topic: Topic, newestAppendMs: number, nowMs: number): boolean {
  const { delete: deletes, retentionMs } = topic.settings;
  return deletes && retentionMs >= 0 && newestAppendMs + retentionMs < nowMs;
}
