/** Eight buckets to each doubling: a percentile is right within 9 %. */
const bucketsPerDoubling = 8;
const buckets = 36 * bucketsPerDoubling;

/** Latencies from 1 µs to hours in a fixed array. Add histograms up, never their percentiles. */
export class Histogram {
  readonly #counts = new Float64Array(buckets);
  #total = 0;
  #maxMs = 0;

  record(ms: number, times: number): void {
    const us = Math.max(1, ms * 1000);
    const bucket = Math.min(buckets - 1, Math.floor(Math.log2(us) * bucketsPerDoubling));
    this.#counts[bucket] += times;
    this.#total += times;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  get total(): number {
    return this.#total;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** 0 when nothing was recorded. */
  percentileMs(share: number): number {
    let left = Math.ceil(this.#total * share);
    if (left === 0) return 0;
    for (let bucket = 0; bucket < buckets; bucket++) {
      left -= this.#counts[bucket];
      if (left > 0) continue;
      const upperMs = 2 ** ((bucket + 1) / bucketsPerDoubling) / 1000;
      return Math.min(upperMs, this.#maxMs);
    }
    return this.#maxMs;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
    this.#maxMs = 0;
  }
}
