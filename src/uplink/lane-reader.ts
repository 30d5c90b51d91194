/** Fills lanes from the log: what came with the news, and what has to be looked for. */
import { baseOffset } from "../batch/header.ts";
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
    let progress = false;
    for (const lane of lanes) {
      if (lane.told.length > 0 && lane.wants(now)) progress = takeTold(lane) || progress;
    }
    const behind = lanes.filter((lane) => {
      return lane.readTo < lane.highWatermark && lane.told.length === 0 && lane.wants(now);
    });
    if (behind.length === 0) return progress;
    const maxBytes = limits.uplinkLaneBytes;
    const reads = behind.map(({ topic, partition, readTo: offset }) => {
      return { topic, partition, offset, maxBytes };
    });
    const from = reads.map(({ offset }) => offset);
    const found = await this.#reader.find(reads, room);
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

function takeTold(lane: Lane): boolean {
  const before = lane.readTo;
  let taken = 0;
  for (const batches of lane.told) {
    // a commit in between was not told: it has to be looked for
    if (baseOffset(batches) > lane.readTo) {
      taken = lane.told.length;
      break;
    }
    if (lane.queuedBytes >= limits.uplinkLaneBytes) break;
    taken++;
    lane.put(batches);
  }
  lane.told.splice(0, taken);
  return lane.readTo > before;
}
