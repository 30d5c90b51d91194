/** Writing stops before the disk is full, while there is room to go on reading and to clean up. */
import { statfsSync } from "node:fs";

const CHECK_MS = 250;
const MIN_BYTES = 16 * 1024 * 1024;
const MIN_DEFAULT_BYTES = 1024 * 1024 * 1024;

export class DiskWatermark {
  writable = true;
  readonly #dir: string;
  readonly #min: number | null;
  readonly #log: (line: string) => void;
  #checkedMs = -Infinity;

  /** `min`: free bytes below which nothing is written; null: min(1 GiB, 5 % of the disk). */
  constructor(dir: string, min: number | null, log: (line: string) => void) {
    this.#dir = dir;
    this.#min = min;
    this.#log = log;
  }

  /** Asks the file system at most four times a second. */
  check(now: number): void {
    // a clock set back must not stop the looking
    if (Math.abs(now - this.#checkedMs) < CHECK_MS) return;
    this.#checkedMs = now;
    const { bavail, blocks, bsize } = statfsSync(this.#dir);
    const share = Math.min(MIN_DEFAULT_BYTES, 0.05 * blocks * bsize);
    const min = Math.max(this.#min ?? share, MIN_BYTES);
    const writable = bavail * bsize >= min;
    if (writable === this.writable) return;
    this.writable = writable;
    this.#log(
      writable
        ? "the disk has room again: writing goes on"
        : `disk below its watermark of ${Math.round(min / 1e6)} MB: nothing is written`,
    );
  }
}
