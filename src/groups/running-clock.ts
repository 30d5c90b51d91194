/**
 * Milliseconds in which this thread was running. While it stands still nobody can be heard, so
 * that time is nobody's silence: after a stall no member has missed a heartbeat.
 */
export class RunningClock {
  readonly #monotonic: () => number;
  #lostMs = 0;

  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic;
  }

  now(): number {
    return this.#monotonic() - this.#lostMs;
  }

  lose(ms: number): void {
    this.#lostMs += ms;
  }
}
