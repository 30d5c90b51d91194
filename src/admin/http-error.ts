import type { ErrorCode } from "../model/errors.ts";
import { MilepostError } from "../model/errors.ts";

/** A refusal as the admin port answers it: `{"error":{"code","message"}}`. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;
  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.name = "HttpError";
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** What is not listed here is the node's own failure: 500. */
const statuses: Partial<Record<ErrorCode, number>> = {
  bad_json: 400,
  bad_id: 400,
  invalid_group: 400,
  invalid_topic: 400,
  invalid_partitions: 400,
  invalid_config: 400,
  group_missing: 404,
  topic_missing: 404,
  partition_missing: 404,
  group_not_empty: 409,
  topic_exists: 409,
  in_cluster: 409,
  too_large: 413,
  policy: 422,
  groups_loading: 503,
  uplink: 503,
  backlog: 503,
  timeout: 503,
  disk_full: 503,
  draining: 503,
  shutdown: 503,
};

/** null for what is no refusal but a fault in the program. */
export function toHttpError(error: unknown): HttpError | null {
  if (error instanceof HttpError) return error;
  if (!(error instanceof MilepostError)) return null;
  const status = statuses[error.code] ?? 500;
  const headers: Record<string, string> = status === 503 ? { "retry-after": "1" } : {};
  return new HttpError(status, error.code, error.message, headers);
}
