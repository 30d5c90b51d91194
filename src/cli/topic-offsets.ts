import { ListOffsetTimestamps, type Consumer } from "@platformatic/kafka";
import type { Start } from "./start.ts";

/** Offsets by partition: where the records that are there begin and end. */
export type Bounds = Map<number, { start: number; end: number }>;

export async function boundsOf(consumer: Consumer, topic: string): Promise<Bounds> {
  const [starts, ends] = await Promise.all([
    offsetsAt(consumer, topic, ListOffsetTimestamps.EARLIEST),
    offsetsAt(consumer, topic, ListOffsetTimestamps.LATEST),
  ]);
  return new Map(starts.map((start, p) => [p, { start, end: Math.max(start, ends[p]) }]));
}

/** An offset that is not there gives way to the nearest that is. */
export async function resolveStart(
  consumer: Consumer,
  topic: string,
  from: Start,
  bounds: Bounds,
): Promise<Map<number, number>> {
  let wanted: number[] = [];
  if (typeof from === "object" && "timeMs" in from) {
    wanted = await offsetsAt(consumer, topic, BigInt(from.timeMs));
  }
  const starts = [...bounds].map(([partition, { start, end }]): [number, number] => {
    if (from === "earliest") return [partition, start];
    if (from === "latest") return [partition, end];
    const at = "offset" in from ? from.offset : wanted[partition];
    // no record is that late: those to come are
    return [partition, at < 0 ? end : Math.min(Math.max(at, start), end)];
  });
  return new Map(starts);
}

async function offsetsAt(consumer: Consumer, topic: string, timestamp: bigint): Promise<number[]> {
  const offsets = await consumer.listOffsets({ topics: [topic], timestamp });
  return (offsets.get(topic) ?? []).map(Number);
}
