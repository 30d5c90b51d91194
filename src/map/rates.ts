/** Figures for the status line: how many updates a second, and how old they are on arrival. */
const WINDOW_MS = 4000;
const LATENCIES = 256;

export class Rates {
  /** Arrivals of the last seconds: time and how many. */
  #turns: { atMs: number; count: number }[] = [];
  readonly #latencies: number[] = [];
  #next = 0;

  /** `latencyMs`: from the gateway's receive time to now; both clocks are taken to agree. */
  count(atMs: number, latencyMs: number): void {
    const last = this.#turns.at(-1);
    if (last !== undefined && atMs - last.atMs < 50) last.count++;
    else this.#turns.push({ atMs, count: 1 });
    this.#latencies[this.#next] = Math.max(0, latencyMs);
    this.#next = (this.#next + 1) % LATENCIES;
  }

  perSecond(nowMs: number): number {
    this.#turns = this.#turns.filter(({ atMs }) => nowMs - atMs < WINDOW_MS);
    const sum = this.#turns.reduce((total, { count }) => total + count, 0);
    return sum / (WINDOW_MS / 1000);
  }

  /** The median of the last ones; null when none came lately. */
  latencyMs(nowMs: number): number | null {
    if (this.perSecond(nowMs) === 0) return null;
    const sorted = this.#latencies.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1];
  }

  reset(): void {
    this.#turns = [];
    this.#latencies.length = 0;
    this.#next = 0;
  }
}
