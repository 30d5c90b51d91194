import { parseResetTarget, type OffsetMove, type Reset } from "../groups/reset.ts";
import { limits } from "../model/limits.ts";
import type { AdminBackend } from "./backend.ts";
import { HttpError } from "./http-error.ts";
import { refuseOtherFields } from "./topics.ts";

export async function groupList(backend: AdminBackend): Promise<object> {
  const groups = await backend.groups();
  return { groups: groups.toSorted((a, b) => (a.group < b.group ? -1 : 1)) };
}

/** `{"to","topic"?,"partition"?,"dryRun"?}` */
export function parseReset(body: Record<string, unknown>): Reset {
  refuseOtherFields(body, ["to", "topic", "partition", "dryRun"]);
  const { to, topic = null, partition = null, dryRun = false } = body;
  const target = typeof to === "string" ? parseResetTarget(to) : null;
  if (target === null) {
    throw bad("to: expected earliest, latest, an offset, @TIME in ms or ISO, +N or -N");
  }
  if (topic !== null && typeof topic !== "string") throw bad("topic: expected a name");
  if (typeof dryRun !== "boolean") throw bad("dryRun: expected true or false");
  if (partition === null) return { to: target, topic, partition, dryRun };
  if (topic === null) throw bad("partition: of which topic?");
  if (Number.isInteger(partition) && (partition as number) >= 0) {
    const number = Math.min(partition as number, limits.partitionsMax);
    return { to: target, topic, partition: number, dryRun };
  }
  throw bad("partition: expected a number from 0 on");
}

export function refuseNoMoves(group: string, moves: OffsetMove[], { topic }: Reset): void {
  if (moves.length > 0) return;
  const where = topic === null ? "; name a topic" : ` of ${topic}`;
  throw new HttpError(409, "nothing_committed", `${group} has committed nothing${where}`);
}

function bad(message: string): HttpError {
  return new HttpError(400, "bad_request", message);
}
