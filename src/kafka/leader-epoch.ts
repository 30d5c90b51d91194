import { E } from "../wire/errors.ts";

/** KIP-320: what a client that knows another leader epoch than ours is told. -1: it knows none. */
export function leaderEpochFault(known: number, current: number): number {
  if (known >= 0 && known < current) return E.FENCED_LEADER_EPOCH;
  return known > current ? E.UNKNOWN_LEADER_EPOCH : E.NONE;
}
