/** Half a second to five between attempts; the jitter keeps a fleet from returning as one. */
const firstDelayMs = 250;
const delayMsMax = 5000;

/** Delay before the next attempt, after `failures` of them; `random` in [0, 1). */
export function backoffMs(failures: number, random: number): number {
  const ceiling = Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(failures, 10));
  return ceiling * (0.5 + 0.5 * random);
}

/**
 * Lets so many connections be opened at once. A listener's queue holds a few hundred; beyond it
 * the kernel drops SYNs, and whoever is dropped waits a second or three.
 */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  /** Calls `enter` when there is a place; the place is given back by the function passed to it. */
  pass(enter: (leave: () => void) => void): void {
    const start = () => {
      let inside = true;
      enter(() => {
        if (!inside) return;
        inside = false;
        const next = this.#waiting.shift();
        if (next === undefined) this.#free++;
        else next();
      });
    };
    if (this.#free === 0) this.#waiting.push(start);
    else {
      this.#free--;
      start();
    }
  }
}

/** A place at the gate is held this long at most, so that a silent gateway does not block it. */
const gateMsMax = 1000;

/** Dials, and dials again for ever: one for each connection of a driver. */
export class Redial {
  readonly #gate: Gate;
  readonly #dial: () => void;
  #failures = 0;
  #leave: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(gate: Gate, dial: () => void) {
    this.#gate = gate;
    this.#dial = dial;
  }

  start(): void {
    this.#timer = null;
    this.#gate.pass((leave) => {
      if (this.#stopped) return leave();
      const timer = setTimeout(() => this.#settled(), gateMsMax);
      this.#leave = () => {
        clearTimeout(timer);
        leave();
      };
      this.#dial();
    });
  }

  opened(): void {
    this.#settled();
  }

  /** Something was acknowledged: the next loss is a new story. */
  proven(): void {
    this.#failures = 0;
  }

  /** The connection was lost or never came about. `atLeastMs`: the gateway's own wish. */
  lost(atLeastMs = 0): void {
    this.#settled();
    if (this.#stopped || this.#timer !== null) return;
    const delayMs = Math.max(atLeastMs, backoffMs(this.#failures++, Math.random()));
    this.#timer = setTimeout(() => this.start(), delayMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#settled();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #settled(): void {
    this.#leave?.();
    this.#leave = null;
  }
}
