import type { TopicInfo } from "../log/types.ts";
import { limits } from "../model/limits.ts";
import { partitionsByDefault } from "../model/topic-config.ts";
import type { TopicChange } from "./backend.ts";
import { HttpError } from "./http-error.ts";

export type NewTopic = { topic: string; partitions: number; config: Record<string, string> };

export function topicList(topics: TopicInfo[]): object {
  const sorted = [...topics].sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    topics: sorted.map(({ name, partitions, config }) => ({ topic: name, partitions, config })),
  };
}

/** `{"topic","partitions"?,"config"?}` */
export function parseNewTopic(body: Record<string, unknown>): NewTopic {
  refuseOtherFields(body, ["topic", "partitions", "config"]);
  if (typeof body["topic"] !== "string") {
    throw new HttpError(400, "invalid_topic", "topic: expected a name");
  }
  const config = parseConfig(body["config"] ?? {});
  for (const [key, value] of Object.entries(config)) {
    if (value === null) throw new HttpError(400, "invalid_config", `${key}: expected a value`);
  }
  return {
    topic: body["topic"],
    partitions: parsePartitions(body["partitions"] ?? partitionsByDefault),
    config: config as Record<string, string>,
  };
}

/** `{"partitions"?,"config"?}`, at least one of them; a setting of null returns to its default. */
export function parseTopicChange(body: Record<string, unknown>): TopicChange {
  refuseOtherFields(body, ["partitions", "config"]);
  const config = parseConfig(body["config"] ?? {});
  const partitions = body["partitions"] === undefined ? null : parsePartitions(body["partitions"]);
  if (partitions === null && Object.keys(config).length === 0) {
    throw new HttpError(400, "bad_request", "nothing to change: give partitions or config");
  }
  return { config, partitions };
}

/** `{"partition"}` */
export function parsePartition(body: Record<string, unknown>): number {
  refuseOtherFields(body, ["partition"]);
  const number = body["partition"] as number;
  if (Number.isInteger(number) && number >= 0 && number < limits.partitionsMax) return number;
  throw new HttpError(400, "bad_request", "partition: expected a number from 0 on");
}

function parsePartitions(value: unknown): number {
  const number = value as number;
  if (Number.isInteger(value) && number >= 1 && number <= limits.partitionsMax) return number;
  const message = `partitions: expected a number from 1 to ${limits.partitionsMax}`;
  throw new HttpError(400, "invalid_partitions", message);
}

function parseConfig(value: unknown): Record<string, string | null> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new HttpError(400, "invalid_config", "config: expected an object");
  }
  // fromEntries defines own properties, so that a key `__proto__` is a key like any other
  return Object.fromEntries(
    Object.entries(value).map(([key, setting]) => [key, settingText(key, setting)]),
  );
}

function settingText(key: string, value: unknown): string | null {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new HttpError(400, "invalid_config", `${key}: expected a string`);
}

export function refuseOtherFields(body: Record<string, unknown>, fields: string[]): void {
  const other = Object.keys(body).find((key) => !fields.includes(key));
  if (other === undefined) return;
  throw new HttpError(400, "bad_request", `unknown field ${other}; there are ${fields.join(", ")}`);
}
