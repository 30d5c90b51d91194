/** Seeded randomness: the same seed makes the same city and the same fleet on every machine. */

/** Mixes a seed and an index into a well spread 32-bit state. */
export function mix(seed: number, index: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Next number in [0, 1) of the generator (mulberry32) whose state is `states[i]`. */
export function nextOf(states: Uint32Array, i: number): number {
  const state = (states[i] + 0x6d2b79f5) >>> 0;
  states[i] = state;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

/** About normal, mean 0, deviation 1: the sum of three uniforms is close enough for GPS noise. */
export function normalOf(states: Uint32Array, i: number): number {
  return 2 * (nextOf(states, i) + nextOf(states, i) + nextOf(states, i) - 1.5);
}

export class Random {
  readonly #state = new Uint32Array(1);

  constructor(seed: number) {
    this.#state[0] = mix(seed, 0);
  }

  next(): number {
    return nextOf(this.#state, 0);
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  normal(): number {
    return normalOf(this.#state, 0);
  }
}

/** Smooth noise over the plane in [-1, 1]: hashed corners of the unit grid, eased between. */
export function smoothNoise(seed: number, x: number, y: number): number {
  const column = Math.floor(x);
  const row = Math.floor(y);
  const corner = (dx: number, dy: number) =>
    mix(seed, (column + dx) * 7919 + (row + dy) * 104729) / 2147483648 - 1;
  const u = ease(x - column);
  const v = ease(y - row);
  const top = corner(0, 0) * (1 - u) + corner(1, 0) * u;
  const bottom = corner(0, 1) * (1 - u) + corner(1, 1) * u;
  return top * (1 - v) + bottom * v;
}

function ease(t: number): number {
  return t * t * (3 - 2 * t);
}
