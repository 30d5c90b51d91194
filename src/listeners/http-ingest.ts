import { isDriverId } from "../codec/rewrite.ts";
import { skipSpace } from "../codec/skip.ts";
import { answerWith, type Call } from "./exchange.ts";
import type { FrameResult } from "./intake-types.ts";

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const NEWLINE = 0x0a;

const ndjsonTypes = new Set(["application/x-ndjson", "application/ndjson", "application/jsonl"]);

/** `POST /v1/ingest[?driver=]`: a ping, an array of them, or NDJSON. 200 once all is in the log. */
export function takeIngest({ exchange, head, params, body, intake }: Call): void {
  const driver = params.get("driver") ?? null;
  if (driver !== null && !isDriverId(driver)) {
    return exchange.error(400, "bad_id", "driver= is not a driver id");
  }
  const ndjson = ndjsonTypes.has(head.contentType) || looksLikeLines(body);
  intake.frame(
    body,
    {
      transport: "http",
      dialect: "native",
      driver,
      identity: driver === null ? null : Buffer.from(driver),
      memory: null,
    },
    ndjson,
    answerWith(exchange, ingestReply),
  );
}

function ingestReply({ accepted, rejected }: FrameResult): string {
  return JSON.stringify({ accepted, rejected });
}

/**
 * `curl --data-binary @pings.ndjson` sends no useful content type. Nothing is guessed, though: an
 * object, a line break and another object in a body that does not begin with `[` cannot be part
 * of one JSON document (inside a string a line break is escaped).
 */
function looksLikeLines(body: Uint8Array): boolean {
  let at = skipSpace(body, 0, body.length);
  if (body[at] !== OPEN_BRACE) return false;
  while ((at = body.indexOf(CLOSE_BRACE, at)) !== -1) {
    // each space is looked at once, however long the gap
    const gap = at + 1;
    at = skipSpace(body, gap, body.length);
    if (body[at] === OPEN_BRACE && body.subarray(gap, at).includes(NEWLINE)) return true;
  }
  return false;
}
