/**
 * How many connections there may be: what the log and the admin port leave of the descriptors. LMDB
 * at the descriptor limit may end the process, so clients are turned away well before it. Kafka's
 * clients get a quarter at most, riders an eighth, and devices the rest; riders may have what
 * others do not use, as long as another eighth is free.
 */
import { readFileSync, statSync } from "node:fs";
import { limits } from "./limits.ts";

export type ConnectionShares = { devices: number; kafka: number; riders: number };

export function connectionShares(): ConnectionShares {
  const left = Math.max(0, descriptors() - limits.descriptorsKept);
  const kafka = Math.min(limits.kafkaConnectionsMax, Math.floor(left / 4));
  const riders = Math.min(limits.riderConnectionsMax, Math.floor(left / 8));
  const devices = Math.min(limits.connectionsMax, left - kafka - riders);
  return { devices, kafka: Math.max(16, kafka), riders: Math.max(16, riders) };
}

/** Asked at each connection, for 10 µs: of all threads, as far as this system tells. */
export class Descriptors {
  readonly #max = descriptors();
  readonly #riders = connectionShares().riders;

  /** Whether one more rider may come to the `open` ones. */
  admitRider(open: number): boolean {
    if (open < this.#riders) return !this.areShort;
    const used = descriptorsUsed();
    if (used === null || open >= limits.riderConnectionsMax) return false;
    const eighth = (this.#max - limits.descriptorsKept) / 8;
    return this.#max - used > limits.descriptorsKept + eighth;
  }

  /** Riders took what devices did not use, and now devices want it. */
  get areShort(): boolean {
    const used = descriptorsUsed();
    return used !== null && this.#max - used < limits.descriptorsKept / 2;
  }
}

/** Node raises the soft limit to the hard one when it starts. */
function descriptors(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"));
    return soft === null ? Infinity : Number(soft[1]);
  } catch {
    // no such file on this system: what it allows is not known
    return Infinity;
  }
}

/** By all threads; null: this kernel does not count them (before Linux 6.2). */
function descriptorsUsed(): number | null {
  try {
    return statSync("/proc/self/fd").size || null;
  } catch {
    return null;
  }
}
