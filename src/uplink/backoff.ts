/** How long to wait before the next try: twice as long each time, a random half less. */
import { limits } from "../model/limits.ts";

export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  #tries = 0;

  constructor(minMs: number = limits.sinkRetryMsMin, maxMs: number = limits.sinkRetryMsMax) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  nextMs(random: number = Math.random()): number {
    const ms = Math.min(this.#minMs * 2 ** this.#tries, this.#maxMs);
    if (ms < this.#maxMs) this.#tries++;
    return ms * (1 - random / 2);
  }

  reset(): void {
    this.#tries = 0;
  }
}
