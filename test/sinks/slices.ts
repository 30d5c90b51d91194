/** Batches for a target, as if they had been read from a gateway. */
import { stamp } from "../../src/batch/header.ts";
import type { DeadLetter, Slice } from "../../src/sinks/target.ts";
import { batchOf } from "../log/batches.ts";

export const topicId = "0f7ad4a1-5b5e-4c2e-9d51-0a3a2d5d6b10";
export const receivedMs = Date.UTC(2026, 10, 21, 8, 30);

export type Ping = Record<string, unknown>;

/** `seq` tells it from all others of its driver. */
export function pingOf(seq: number, more: Ping = {}): Ping {
  const id = `d${seq % 7}`;
  return { id, ts: receivedMs + seq, lat: 12.97 + seq / 1e5, lon: 77.59, ...more, seq };
}

/** A string or null is a value as it is. */
export function sliceOf(
  partition: number,
  start: number,
  pings: (Ping | string | null)[],
  timestamp = receivedMs,
): Slice {
  const records = pings.map((ping) => {
    const value = typeof ping === "object" && ping !== null ? JSON.stringify(ping) : ping;
    return { key: "key", value, timestamp };
  });
  const bytes = batchOf(records);
  stamp(bytes, start, 0);
  const end = start + pings.length;
  return { topic: "positions", topicId, partition, start, end, batches: [bytes] };
}

export const taken = (partition: number, first = 0) => {
  return { topic: "positions", topicId, partition, first };
};

export async function noLetters(letters: DeadLetter[]): Promise<void> {
  throw new Error(`a dead letter: ${letters[0].reason}`);
}
