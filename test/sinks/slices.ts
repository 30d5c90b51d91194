/** Batches for a target, as if they had been read from a gateway. */
import { stamp } from "../../src/batch/header.ts";
import type { DeadLetter, Slice, Target } from "../../src/sinks/target.ts";
import { batchOf } from "../log/batches.ts";

export const topicId = "0f7ad4a1-5b5e-4c2e-9d51-0a3a2d5d6b10";
export const receivedMs = Date.UTC(2026, 10, 21, 8, 30);

export type Ping = Record<string, unknown>;

/** `seq` tells it from all others of its driver. */
export function pingOf(seq: number, more: Ping = {}): Ping {
  const id = `d${seq % 7}`;
  return { id, ts: receivedMs + seq, lat: 12.97 + seq / 1e5, lon: 77.59, ...more, seq };
}

/** With everything that has a column, and two members that have none. */
export const fullPing: Ping = {
  id: "d1",
  ts: receivedMs + 7,
  lat: -12.5,
  lon: 77.25,
  speed: 3.5,
  heading: 90,
  accuracy: 4,
  altitude: -7.5,
  battery: 0.25,
  trip: "t-1",
  seq: 9,
  fuel: "low",
};

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

/** Takes the slice's partition and writes it; what became dead letters. */
export async function writtenOne(to: Target, slice: Slice): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  await to.open([taken(slice.partition)]);
  await to.write([slice], async (more) => void letters.push(...more));
  return letters;
}
