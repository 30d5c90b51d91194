/** How long to wait before the next try: twice as long each time, a random half less. */
import { limits } from "../model/limits.ts";

export class Backoff {
  #tries = 0;

  nextMs(random: number = Math.random()): number {
    const { sinkRetryMsMin, sinkRetryMsMax } = limits;
    const ms = Math.min(sinkRetryMsMin * 2 ** this.#tries, sinkRetryMsMax);
    if (ms < sinkRetryMsMax) this.#tries++;
    return ms * (1 - random / 2);
  }

  reset(): void {
    this.#tries = 0;
  }
}
