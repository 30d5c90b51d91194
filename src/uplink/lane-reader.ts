/** Fills lanes from the log with what did not come with the news of it. */
import { type Found, type LogReader, nextOffset } from "../log/reader.ts";
import { limits } from "../model/limits.ts";
import type { Lane } from "./lane.ts";

export class LaneReader {
  readonly #reader: LogReader;
  readonly #report: (line: string) => void;
  readonly #said = new Set<string>();

  constructor(reader: LogReader, report: (line: string) => void) {
    this.#reader = reader;
    this.#report = report;
  }

  /** True when something was read. */
  async fill(lanes: readonly Lane[], now: number): Promise<boolean> {
    let room = limits.uplinkReadBytes;
    for (const { queuedBytes } of lanes) room -= queuedBytes;
    if (room <= 0) return false;
    const behind = lanes.filter((lane) => lane.readTo < lane.highWatermark && lane.wants(now));
    if (behind.length === 0) return false;
    const maxBytes = limits.uplinkLaneBytes;
    const reads = behind.map(({ topic, partition, readTo: offset }) => {
      return { topic, partition, offset, maxBytes };
    });
    const from = reads.map(({ offset }) => offset);
    const found = await this.#reader.find(reads, room);
    let progress = false;
    for (const [i, lane] of behind.entries()) {
      // sent back meanwhile, or told more
      if (lane.readTo === from[i]) progress = this.#take(lane, found[i]) || progress;
    }
    return progress;
  }

  #take(lane: Lane, found: Found): boolean {
    lane.highWatermark = Math.max(lane.highWatermark, found.highWatermark);
    const before = lane.readTo;
    if (found.start > before) lane.passTo(found.start);
    else if (found.error !== null) this.#damaged(lane, found.error, found.detail);
    else if (found.bytes > 0) {
      const bytes = this.#reader.take(found);
      if (bytes === null) this.#damaged(lane, "damaged", `at ${before}`);
      else {
        lane.put(bytes);
        if (bytes.byteLength === found.bytes) lane.passTo(nextOffset(found));
      }
    }
    return lane.readTo > before;
  }

  #damaged(lane: Lane, code: string, detail: string): void {
    lane.retryAt = performance.now() + limits.uplinkRefusedMs;
    const line = `uplink: ${lane.topic}/${lane.partition}: ${code}: ${detail}`;
    if (!this.#said.has(line)) this.#report(line);
    this.#said.add(line);
  }
}
