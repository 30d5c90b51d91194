/**
 * Errors that cross a boundary, in one table: a code that others may script against, a text, and
 * whether trying again can help. `kafka` is the code the Kafka protocol uses for the same thing.
 */
import { limits } from "./limits.ts";

const table = {
  // why a ping is rejected (contract §2)
  bad_json: { text: "not valid JSON", retriable: false, kafka: 87 },
  bad_id: { text: "driver id missing or not allowed", retriable: false, kafka: 87 },
  bad_position: { text: "lat or lon missing or out of range", retriable: false, kafka: 87 },
  bad_time: { text: "fix time missing or too far ahead", retriable: false, kafka: 32 },
  too_large: { text: "larger than the limit", retriable: false, kafka: 10 },
  wrong_identity: { text: "id differs from the sender's identity", retriable: false, kafka: 29 },
  unknown_topic: { text: "no such ingest topic", retriable: false, kafka: 3 },
  // why a send is refused for now
  backlog: { text: "too much is unanswered on this connection", retriable: true, kafka: 7 },
  timeout: { text: "not durable in time", retriable: true, kafka: 7 },
  disk_full: {
    text: "the disk, or the buffer for the uplink, is full",
    retriable: true,
    kafka: 56,
  },
  draining: { text: "the gateway is stopping", retriable: true, kafka: 6 },
  shutdown: { text: "the gateway has stopped", retriable: true, kafka: 6 },
  // the log and its topics
  topic_exists: { text: "the topic exists already", retriable: false, kafka: 36 },
  topic_missing: { text: "no such topic", retriable: false, kafka: 3 },
  partition_missing: { text: "no such partition", retriable: false, kafka: 3 },
  invalid_topic: { text: "not a valid topic name", retriable: false, kafka: 17 },
  invalid_partitions: { text: "not a valid number of partitions", retriable: false, kafka: 37 },
  invalid_config: { text: "not a valid setting", retriable: false, kafka: 40 },
  policy: { text: "above a limit of this node", retriable: false, kafka: 44 },
  offset_out_of_range: { text: "offset out of range", retriable: false, kafka: 1 },
  damaged: { text: "the bytes there fail their checksum", retriable: false, kafka: 2 },
  out_of_order_sequence: { text: "producer sequence has a gap", retriable: false, kafka: 45 },
  duplicate_sequence: { text: "producer sequence is too old", retriable: false, kafka: 46 },
  fenced_producer: { text: "producer epoch is stale", retriable: false, kafka: 47 },
  invalid_record: { text: "not a valid record batch", retriable: false, kafka: 87 },
  // consumer groups
  group_missing: { text: "no such group", retriable: false, kafka: 69 },
  group_not_empty: { text: "the group has members", retriable: false, kafka: 68 },
  groups_loading: { text: "groups are being loaded", retriable: true, kafka: 14 },
  invalid_group: { text: "not a valid group id", retriable: false, kafka: 24 },
  // the cluster behind the uplink
  in_cluster: {
    text: "the cluster behind the uplink has it, use Kafka's own tools there",
    retriable: false,
    kafka: 42,
  },
  uplink: { text: "the uplink's cluster does not answer", retriable: true, kafka: 7 },
  // the program
  locked: { text: "the data directory is in use", retriable: false, kafka: -1 },
  newer_format: { text: "written by a newer version", retriable: false, kafka: -1 },
  io: { text: "the disk failed", retriable: false, kafka: 56 },
} as const;

export type ErrorCode = keyof typeof table;

const cut = (text: string): string =>
  text.length > limits.errorDetailCharsMax ? `${text.slice(0, limits.errorDetailCharsMax)}…` : text;

export class MilepostError extends Error {
  readonly code: ErrorCode;
  /** Of the message, what is not the code's own text. */
  readonly detail: string;
  constructor(code: ErrorCode, detail?: string) {
    super(detail === undefined ? table[code].text : `${table[code].text}: ${cut(detail)}`);
    this.name = "MilepostError";
    this.code = code;
    this.detail = detail ?? "";
  }
  get retriable(): boolean {
    return table[this.code].retriable;
  }
  get kafka(): number {
    return table[this.code].kafka;
  }
}

export const errorTable: Readonly<
  Record<ErrorCode, { text: string; retriable: boolean; kafka: number }>
> = table;
