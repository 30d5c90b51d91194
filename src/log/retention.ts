/**
 * When a slice is complete, and which slices of a topic may go: whole ones, from the oldest on,
 * never the open one. The slice after a deleted one carries all state in its headers, which were
 * on disk before its first append.
 */
import { limits } from "../model/limits.ts";
import type { Topic } from "./topic.ts";

/** A roll costs some milliseconds: a tiny retention must not make every commit one. */
const SLICE_BYTES_MIN = 1024 * 1024;
const SLICE_MS_MIN = 1000;
/** Bounds the index of the open slice to about 20 MB, however small its batches are. */
const SLICE_BATCHES_MAX = 500_000;
/** Files unlinked in one step: each may be a quarter of a gigabyte. */
const SLICES_PER_STEP = 4;

/** Whether the open slice has no room for a commit of so many bytes, or no time. */
export function isFull(topic: Topic, bytes: number, nowMs: number): boolean {
  const { row } = topic.open;
  // the roll to a new level may have found no room
  if (row.flushed !== topic.settings.flushed) return true;
  if (row.batches === 0) return false;
  return (
    topic.open.bytes + bytes > sliceBytes(topic) ||
    row.batches > SLICE_BATCHES_MAX ||
    nowMs - row.firstAppendMs > sliceMs(topic)
  );
}

/**
 * An open slice that is too old, or expired as a whole, has to be rolled first; so does one that
 * the cluster behind the uplink has, when nothing is written for lack of room.
 */
export function mustRoll(topic: Topic, nowMs: number, isWritable: boolean): boolean {
  const { row, bytes } = topic.open;
  if (row.batches === 0) return false;
  if (!isWritable && bytes >= SLICE_BYTES_MIN && isMirrored(topic, row.ends)) return true;
  return nowMs - row.firstAppendMs > sliceMs(topic) || expired(topic, row.newestAppendMs, nowMs);
}

/** How many of the oldest slices go now. */
export function removable(topic: Topic, nowMs: number): number {
  const { slices, settings } = topic;
  if (topic.mirrored !== null) return mirroredSlices(topic);
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

/** What the cluster behind the uplink has goes, whatever its age; nothing else does. */
function mirroredSlices(topic: Topic): number {
  const { slices } = topic;
  let count = 0;
  while (count < Math.min(slices.length - 1, SLICES_PER_STEP)) {
    if (!isMirrored(topic, slices[count].row.ends)) break;
    count++;
  }
  return count;
}

const isMirrored = ({ mirrored }: Topic, ends: number[]): boolean =>
  mirrored !== null && ends.every((end, p) => end <= (mirrored[p] ?? 0));

/** Says which topic has more waiting for the cluster than it may keep; empty: none has. */
export function fullBuffer(topics: Topic[]): string {
  const full = topics.find((topic) => isFullBuffer(topic));
  return full === undefined ? "" : `the buffer of ${full.row.name} is full, the uplink is behind`;
}

function isFullBuffer({ slices, settings, partitions, bytes, mirrored }: Topic): boolean {
  const { retentionBytes } = settings;
  if (mirrored === null || retentionBytes < 0 || slices.length < 2) return false;
  return bytes > retentionBytes * partitions.length;
}

function expired(topic: Topic, newestAppendMs: number, nowMs: number): boolean {
  const { delete: deletes, retentionMs } = topic.settings;
  return deletes && retentionMs >= 0 && newestAppendMs + retentionMs < nowMs;
}

/** A slice's limit in bytes: a tenth of what is kept, so that retention goes in tenths. */
function sliceBytes({ settings, partitions }: Topic): number {
  const { segmentBytes, retentionBytes } = settings;
  const tenth = (retentionBytes * partitions.length) / 10;
  const kept = retentionBytes < 0 ? Infinity : Math.max(tenth, SLICE_BYTES_MIN);
  return Math.min(segmentBytes, kept, limits.sliceBytesMax);
}

function sliceMs({ settings }: Topic): number {
  const { segmentMs, retentionMs, compact, maxCompactionLagMs } = settings;
  let wanted = retentionMs < 0 ? segmentMs : Math.min(segmentMs, retentionMs / 10);
  // only a complete slice can be compacted
  if (compact) wanted = Math.min(wanted, maxCompactionLagMs);
  return Math.max(wanted, SLICE_MS_MIN);
}
