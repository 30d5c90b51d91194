import type { ErrorCode } from "../model/errors.ts";

/**
 * Seconds after which a refused device should come back. Spread, so that a fleet refused at one
 * moment does not return at one moment; a disk or a cluster takes longer to heal than a backlog.
 */
export function retryAfterSeconds(reason: ErrorCode): number {
  const least = reason === "disk_full" || reason === "uplink" ? 5 : 1;
  return least + Math.floor(Math.random() * 5);
}
