/** What a ping changes: who is told, the table of drivers and the index. */
import { limits } from "../model/limits.ts";
import type { DriverIndex } from "./driver-index.ts";
import { type DriverTable, NO_ROW, STALE } from "./drivers.ts";
import type { Hub } from "./hub.ts";
import type { LivePing } from "./live-ping.ts";

export type FleetOptions = {
  drivers: DriverTable;
  index: DriverIndex;
  hub: Hub;
  staleMs: number;
  /** `limits.driversMax`, but for tests. */
  driversMax?: number;
};

/** A sixty-fourth of all drivers: forgetting them holds up the thread for some 20 ms. */
const FORGOTTEN_PART = 64;
const SAMPLES = 4096;

export class Fleet {
  readonly #drivers: DriverTable;
  readonly #index: DriverIndex;
  readonly #hub: Hub;
  readonly #staleMs: number;
  readonly #driversMax: number;
  readonly #counts: { pings: number; late: number };

  constructor(options: FleetOptions, counts: { pings: number; late: number }) {
    const { drivers, index, hub, staleMs, driversMax = limits.driversMax } = options;
    this.#drivers = drivers;
    this.#index = index;
    this.#hub = hub;
    this.#staleMs = staleMs;
    this.#driversMax = driversMax;
    this.#counts = counts;
  }

  take(ping: LivePing, partition: number): void {
    const drivers = this.#drivers;
    let row = drivers.find(ping.key, ping.keyStart, ping.keyEnd);
    const isNew = row === NO_ROW;
    if (isNew) {
      if (drivers.count >= this.#driversMax) this.#makeRoom();
      row = drivers.add(ping.key, ping.keyStart, ping.keyEnd);
    }
    const isLate = !isNew && isEarlier(drivers, row, ping, partition);
    this.#hub.position(row, ping, partition, isLate, isNew);
    this.#counts.pings++;
    if (isLate) {
      this.#counts.late++;
      return;
    }
    drivers.keep(row, ping, partition);
    this.#index.put(row);
  }

  /** Marks who has not been heard of; the hub is to be flushed. */
  tick(nowMs: number): void {
    const drivers = this.#drivers;
    const before = nowMs - this.#staleMs;
    const { received, flags, rows } = drivers;
    for (let row = 0; row < rows; row++) {
      if (received[row] >= before || (flags[row] & STALE) !== 0 || !drivers.isUsed(row)) continue;
      this.#hub.stale(row);
      flags[row] |= STALE;
    }
  }

  /** The drivers not heard of for longest are forgotten, a part of all at once. */
  #makeRoom(): void {
    const drivers = this.#drivers;
    const { received, flags, rows } = drivers;
    const times = Float64Array.from({ length: SAMPLES }, (_, i) => {
      return received[Math.floor((i * rows) / SAMPLES)];
    }).sort();
    const before = times[SAMPLES / FORGOTTEN_PART];
    const most = Math.ceil((2 * rows) / FORGOTTEN_PART);
    const forgotten: number[] = [];
    for (let row = 0; row < rows && forgotten.length < most; row++) {
      if (!drivers.isUsed(row) || received[row] > before || this.#hub.follows(row)) continue;
      if ((flags[row] & STALE) === 0) this.#hub.stale(row);
      forgotten.push(row);
    }
    // what is told of them names their rows
    this.#hub.flush();
    for (const row of forgotten) {
      this.#index.remove(row);
      drivers.remove(row);
    }
  }
}

/** *Latest* is the greatest fix, of equal ones the one with the greater offset. */
function isEarlier(drivers: DriverTable, row: number, ping: LivePing, partition: number): boolean {
  const fix = drivers.fix(row);
  if (ping.fix !== fix) return ping.fix < fix;
  return partition === drivers.partition[row] && ping.offset < drivers.offset[row];
}
