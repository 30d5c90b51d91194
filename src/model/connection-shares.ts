/**
 * How many connections there may be: what the log and the admin port leave of the descriptors. LMDB
 * at the descriptor limit may end the process, so clients are turned away well before it. Kafka's
 * clients get a quarter at most, and devices the rest.
 */
import { readFileSync } from "node:fs";
import { limits } from "./limits.ts";

export function connectionShares(): { devices: number; kafka: number } {
  const left = Math.max(0, descriptors() - limits.descriptorsKept);
  const kafka = Math.min(limits.kafkaConnectionsMax, Math.floor(left / 4));
  return { devices: Math.min(limits.connectionsMax, left - kafka), kafka: Math.max(16, kafka) };
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
