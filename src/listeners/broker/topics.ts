/**
 * Topic names and filters as the broker sees them. Ingest topics are the lane's: of everything
 * under `fleet/` and `owntracks/` only these are ever delivered to a subscriber:
 *
 *     fleet/{driver}/status      fleet/{driver}/cmd      owntracks/{user}/{device}/cmd
 */
import { limits } from "../../model/limits.ts";

const delivered = ["fleet/+/status", "fleet/+/cmd", "owntracks/+/+/cmd"].map((f) => f.split("/"));

/** Why nobody may publish to this topic here, or null. */
export function publishRefusal(topic: string): string | null {
  if (topic.startsWith("$")) return "topic reserved";
  if (/[+#\0]/.test(topic) || topic === "") return "topic malformed";
  if (tooLarge(topic)) return "topic too large";
  return null;
}

/** Whether a SUBSCRIBE gets this filter; 0x80 otherwise. */
export function filterGranted(filter: string): boolean {
  // `$SYS` would tell of other clients; `$share` belongs to MQTT 5
  if (filter.startsWith("$") || filter.includes("\0") || tooLarge(filter)) return false;
  const levels = filter.split("/");
  if (levels[0] !== "fleet" && levels[0] !== "owntracks") return true;
  return delivered.some((topic) => overlaps(levels, topic));
}

function tooLarge(topic: string): boolean {
  if (Buffer.byteLength(topic) > limits.topicBytesMax) return true;
  let levels = 1;
  for (let i = 0; i < topic.length; i++) if (topic.charCodeAt(i) === 0x2f) levels++;
  return levels > limits.topicLevelsMax;
}

/** Whether some topic of the form `topic` (`+` = any name but the empty one) matches the filter. */
function overlaps(filter: string[], topic: string[]): boolean {
  for (let i = 0; i < filter.length; i++) {
    if (filter[i] === "#") return i <= topic.length;
    if (i >= topic.length) return false;
    if (filter[i] === "+" || filter[i] === topic[i]) continue;
    if (topic[i] !== "+" || filter[i] === "") return false;
  }
  return filter.length === topic.length;
}

/** [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1]; the filter is well formed. */
export function matches(filter: string, topic: string): boolean {
  const f = filter.split("/");
  const t = topic.split("/");
  if (topic.startsWith("$") && (f[0] === "+" || f[0] === "#")) return false;
  for (let i = 0; i < f.length; i++) {
    if (f[i] === "#") return true;
    if (i >= t.length || (f[i] !== "+" && f[i] !== t[i])) return false;
  }
  return f.length === t.length;
}

export function isWild(filter: string): boolean {
  return filter.includes("+") || filter.endsWith("#");
}
