import type { Exchange } from "../lib/http-exchange.ts";
import type { Head } from "../lib/http-guard.ts";
import { errorTable, type ErrorCode } from "../model/errors.ts";
import type { Done, FrameResult, Intake } from "./intake-types.ts";
import { retryAfterSeconds } from "./retry-after.ts";

/** A request with its whole body, which is valid only during the call. */
export type Call = {
  exchange: Exchange;
  head: Head;
  params: Map<string, string>;
  body: Uint8Array;
  intake: Intake;
};

/** For a body that is not taken: 413 for ever, 503 for now. */
export function refuse(exchange: Exchange, reason: ErrorCode): void {
  const { text } = errorTable[reason];
  if (reason === "too_large") return exchange.error(413, reason, text);
  exchange.error(503, reason, text, [["Retry-After", String(retryAfterSeconds(reason))]]);
}

/** Answers when the log has, with what `body` makes of the result. */
export function answerWith(exchange: Exchange, body: (result: FrameResult) => string): Done {
  return (result, refusal) => {
    if (result === null) refuse(exchange, refusal ?? "timeout");
    else exchange.reply(200, body(result));
  };
}
