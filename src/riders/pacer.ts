/**
 * One clock for all subscriptions that are told something at most so often: those due in the same
 * step are told together, and nothing ticks while none waits.
 */
import { limits } from "../model/limits.ts";

export interface Paced {
  tick(): void;
}

export class Pacer {
  /** Number of a step → who is due in it. */
  readonly #due = new Map<number, Set<Paced>>();
  #timer: NodeJS.Timeout | null = null;
  #step = 0;
  /** Called when those due were told: whoever has something may write it. */
  readonly #onTicked: () => void;

  constructor(onTicked: () => void) {
    this.#onTicked = onTicked;
  }

  /** ms, of a clock that only goes forward. */
  get now(): number {
    return performance.now();
  }

  /** `tick` is called once, at `ms` or up to a step later. */
  at(ms: number, paced: Paced): void {
    const step = stepAt(ms);
    const there = this.#due.get(step);
    if (there === undefined) this.#due.set(step, new Set([paced]));
    else there.add(paced);
    if (this.#timer !== null) return;
    this.#step = stepNow();
    this.#timer = setInterval(() => this.#tick(), limits.riderStepMs);
  }

  /** `ms`: as it was given to `at`. */
  cancel(ms: number, paced: Paced): void {
    const step = stepAt(ms);
    const there = this.#due.get(step);
    if (there?.delete(paced) && there.size === 0) this.#due.delete(step);
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#due.clear();
  }

  #tick(): void {
    const now = stepNow();
    for (; this.#step <= now; this.#step++) {
      const due = this.#due.get(this.#step);
      if (due === undefined) continue;
      this.#due.delete(this.#step);
      for (const paced of due) paced.tick();
    }
    this.#onTicked();
    if (this.#due.size === 0) this.close();
  }
}

const stepNow = (): number => Math.floor(performance.now() / limits.riderStepMs);
const stepAt = (ms: number): number => Math.ceil(ms / limits.riderStepMs);
