import { speedLimits } from "./city.ts";
import type { City } from "./city.ts";
import { Random } from "./random.ts";

/** Time lost at a junction, s: makes a few long streets better than many short ones. */
const junctionSeconds = 4;

/** For one destination: the lane to take at each junction, and the time it takes from there. */
export type Route = { lanes: Int32Array; seconds: Float32Array };

/**
 * Fastest ways to the places people go. A trip leads to one of them and ends somewhat before it,
 * so that a driver needs no path of its own: a look-up at each junction, whatever the fleet's size.
 */
export class Routes {
  readonly #city: City;
  readonly #places: number[] = [];
  readonly #routes: (Route | undefined)[] = [];

  constructor(city: City, count = 64, seed = 1) {
    this.#city = city;
    const random = new Random(seed + 77);
    const { x, y } = city.streets;
    // More of them towards the centre, as in any city: the nearest of a few candidates.
    for (let k = 0; k < count; k++) {
      let best = 0;
      let bestDistance = Infinity;
      for (let candidate = 0; candidate < 3; candidate++) {
        const j = Math.floor(random.next() * city.junctions);
        const distance = Math.hypot(x[j] - x[0], y[j] - y[0]);
        if (distance < bestDistance) [best, bestDistance] = [j, distance];
      }
      this.#places.push(best);
    }
  }

  get count(): number {
    return this.#places.length;
  }

  to(place: number): Route {
    return (this.#routes[place] ??= this.#find(this.#places[place]));
  }

  /** Dijkstra from the destination backwards; streets go both ways. */
  #find(destination: number): Route {
    const { streets } = this.#city;
    const lanes = new Int32Array(this.#city.junctions).fill(-1);
    const seconds = new Float32Array(this.#city.junctions).fill(Infinity);
    const heap = new Heap();
    seconds[destination] = 0;
    heap.push(0, destination);
    for (let at = heap.pop(); at >= 0; at = heap.pop()) {
      const base = seconds[at];
      if (heap.key > base) continue;
      for (let k = streets.firstOut[at]; k < streets.firstOut[at + 1]; k++) {
        const lane = streets.lanesOut[k];
        const street = lane >> 1;
        const before = this.#city.head(lane);
        const cost = streets.lengths[street] / speedLimits[streets.kinds[street]];
        const total = Math.fround(base + cost + junctionSeconds);
        if (total >= seconds[before]) continue;
        seconds[before] = total;
        lanes[before] = lane ^ 1;
        heap.push(total, before);
      }
    }
    return { lanes, seconds };
  }
}

/** A binary heap of (key, value); `key` is that of the value popped last. */
class Heap {
  readonly #keys: number[] = [];
  readonly #values: number[] = [];
  key = 0;

  push(key: number, value: number): void {
    const [keys, values] = [this.#keys, this.#values];
    let at = keys.length;
    keys.push(key);
    values.push(value);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (keys[parent] <= key) break;
      keys[at] = keys[parent];
      values[at] = values[parent];
      at = parent;
    }
    keys[at] = key;
    values[at] = value;
  }

  pop(): number {
    const [keys, values] = [this.#keys, this.#values];
    if (keys.length === 0) return -1;
    const top = values[0];
    this.key = keys[0];
    const key = keys.pop()!;
    const value = values.pop()!;
    const count = keys.length;
    if (count === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && keys[child + 1] < keys[child]) child++;
      if (keys[child] >= key) break;
      keys[at] = keys[child];
      values[at] = values[child];
      at = child;
    }
    keys[at] = key;
    values[at] = value;
    return top;
  }
}
