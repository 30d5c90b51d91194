/**
 * How many device connections a worker may hold: its share of the descriptors that are left when
 * the log and the admin port have theirs. LMDB at the descriptor limit may end the process, so
 * devices are turned away well before it.
 */
import { readFileSync } from "node:fs";
import { limits } from "../model/limits.ts";

export class Admission {
  readonly max: number;
  open = 0;

  constructor(workers: number) {
    const left = descriptors() - limits.descriptorsKept;
    this.max = Math.max(16, Math.floor(Math.min(left, limits.connectionsMax) / workers));
  }

  get full(): boolean {
    return this.open >= this.max;
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
