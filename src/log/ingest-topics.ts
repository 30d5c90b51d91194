/** Topics that devices write to. */
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { TopicConfig } from "../model/topic-config.ts";
import type { TopicInfo } from "./types.ts";

/**
 * Of a topic that is to have these settings. What workers write must fit: a slab holds the largest
 * frame once for each topic that takes it, a batch of theirs must not be larger than its topic
 * allows, and what was rejected may have no key.
 */
export function checkIngest(topics: readonly TopicInfo[], name: string, config: TopicConfig): void {
  const from = config["milepost.from"] ?? "";
  if (from === "" && name !== "rejects" && name !== "commands") return;
  const bytes = Number(config["max.message.bytes"] ?? limits.messageBytesMax);
  if (bytes < limits.ingestBatchBytesMax) {
    const detail = `max.message.bytes=${bytes}: devices' batches in ${name} may have`;
    throw new MilepostError("invalid_config", `${detail} ${limits.ingestBatchBytesMax}`);
  }
  if (name === "rejects" && config["cleanup.policy"]?.includes("compact")) {
    const detail =
      "cleanup.policy: records of rejects may have no key, so they cannot be compacted";
    throw new MilepostError("invalid_config", detail);
  }
  const others = topics.filter((t) => t.name !== name && t.config["milepost.from"] === from);
  if (from === "" || others.length < limits.ingestTopicsMax) return;
  const detail = `at most ${limits.ingestTopicsMax} topics with milepost.from=${from}`;
  throw new MilepostError("policy", detail);
}
