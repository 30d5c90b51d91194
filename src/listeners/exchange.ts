import type { UWS } from "../lib/uws.ts";
import { errorTable, type ErrorCode } from "../model/errors.ts";
import type { Head } from "../lib/http-guard.ts";
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

const statusTexts: Record<number, string> = {
  200: "200 OK",
  400: "400 Bad Request",
  403: "403 Forbidden",
  404: "404 Not Found",
  405: "405 Method Not Allowed",
  408: "408 Request Timeout",
  413: "413 Content Too Large",
  426: "426 Upgrade Required",
  503: "503 Service Unavailable",
};

/**
 * One HTTP request and its answer. uWS wants an abort handler on every response that is not
 * answered at once, and its response must not be touched after the end or an abort: both are
 * kept here, so that an answer that comes too late is dropped in one place.
 */
export class Exchange {
  /** Null once answered or aborted. */
  #res: UWS.HttpResponse | null;
  readonly #isHead: boolean;
  readonly #closeAfter: boolean;
  #onOver: ((status: number) => void) | null = null;

  constructor(res: UWS.HttpResponse, head: Head) {
    this.#res = res;
    this.#isHead = head.method === "HEAD";
    // uWS reads chunk sizes leniently (an empty one is 0): what would follow such a body on the
    // connection is not to be trusted
    this.#closeAfter = head.chunked;
    res.onAborted(() => this.#finish(0));
  }

  get over(): boolean {
    return this.#res === null;
  }

  /** Called once, with the status sent, or 0 when the client went away first. */
  set onOver(listener: (status: number) => void) {
    this.#onOver = listener;
  }

  onData(listener: (chunk: ArrayBuffer, isLast: boolean) => void): void {
    this.#res?.onData(listener);
  }

  pause(): void {
    this.#res?.pause();
  }

  /** Also restarts uWS's own clock for slow bodies. */
  resume(): void {
    this.#res?.resume();
  }

  /** `body` is JSON, or empty. */
  reply(status: number, body: string, headers: readonly [string, string][] = []): void {
    this.#answer(status, body, headers, this.#closeAfter);
  }

  error(
    status: number,
    code: string,
    message: string,
    headers: readonly [string, string][] = [],
  ): void {
    this.#answer(status, errorBody(code, message), headers, this.#closeAfter);
  }

  errorAndClose(status: number, code: string, message: string): void {
    this.#answer(status, errorBody(code, message), [], true);
  }

  /** For a body that is not taken: 413 for ever, 503 for now. */
  refuse(reason: ErrorCode): void {
    const { text } = errorTable[reason];
    if (reason === "too_large") this.error(413, reason, text);
    else this.error(503, reason, text, [["Retry-After", String(retryAfterSeconds(reason))]]);
  }

  /**
   * An answer that closes goes out a turn later: a request pipelined behind this one in the same
   * read then meets one that is unanswered, and uWS closes instead of running it.
   */
  #answer(
    status: number,
    body: string,
    headers: readonly [string, string][],
    closeConnection: boolean,
  ): void {
    if (closeConnection) setImmediate(() => this.#send(status, body, headers, true));
    else this.#send(status, body, headers, false);
  }

  #send(
    status: number,
    body: string,
    headers: readonly [string, string][],
    closeConnection: boolean,
  ): void {
    const res = this.#res;
    if (res === null) return;
    this.#finish(status);
    res.cork(() => {
      res.writeStatus(statusTexts[status]);
      for (const [name, value] of headers) res.writeHeader(name, value);
      if (body !== "") res.writeHeader("Content-Type", "application/json");
      if (this.#isHead && !closeConnection) {
        // with a length for an argument it leaves the response open for ever
        res.writeHeader("Content-Length", String(Buffer.byteLength(body)));
        res.endWithoutBody();
      } else {
        res.end(this.#isHead ? "" : body, closeConnection);
      }
    });
  }

  #finish(status: number): void {
    if (this.#res === null) return;
    this.#res = null;
    this.#onOver?.(status);
  }
}

/** Answers when the log has, with what `body` makes of the result. */
export function answerWith(exchange: Exchange, body: (result: FrameResult) => string): Done {
  return (result, refusal) => {
    if (result === null) exchange.refuse(refusal ?? "timeout");
    else exchange.reply(200, body(result));
  };
}

function errorBody(code: string, message: string): string {
  return JSON.stringify({ error: { code, message } });
}
