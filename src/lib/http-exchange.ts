import type { Head } from "./http-guard.ts";
import type { UWS } from "./uws.ts";

export type HeaderFields = readonly (readonly [name: string, value: string])[];

const statusTexts: Record<number, string> = {
  200: "200 OK",
  204: "204 No Content",
  206: "206 Partial Content",
  304: "304 Not Modified",
  400: "400 Bad Request",
  403: "403 Forbidden",
  404: "404 Not Found",
  405: "405 Method Not Allowed",
  408: "408 Request Timeout",
  413: "413 Content Too Large",
  416: "416 Range Not Satisfiable",
  426: "426 Upgrade Required",
  429: "429 Too Many Requests",
  500: "500 Internal Server Error",
  503: "503 Service Unavailable",
};

/** These have no body, not even an empty one. */
const bodiless = new Set([204, 304]);

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
  #onGone: (() => void) | null = null;
  #hasBegun = false;
  /** Of every answer. */
  common: HeaderFields = [];

  constructor(res: UWS.HttpResponse, head: Head) {
    this.#res = res;
    this.#isHead = head.method === "HEAD";
    // uWS reads chunk sizes leniently (an empty one is 0): what would follow such a body on the
    // connection is not to be trusted
    this.#closeAfter = head.chunked;
    res.onAborted(() => {
      this.#finish(0);
      this.#onGone?.();
    });
  }

  get over(): boolean {
    return this.#res === null;
  }

  get isHead(): boolean {
    return this.#isHead;
  }

  /** The head of an answer was sent, and its end not. */
  get hasBegun(): boolean {
    return this.#hasBegun && !this.over;
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

  /** Of the client, as text. */
  address(): string {
    return this.#res === null ? "" : Buffer.from(this.#res.getRemoteAddressAsText()).toString();
  }

  /** `body` is JSON unless the headers name a type, or empty. */
  reply(status: number, body: string | Uint8Array, headers: HeaderFields = []): void {
    this.#answer(status, body, headers, this.#closeAfter);
  }

  /** To a HEAD, for a body that is not at hand. */
  replyHead(status: number, length: number, headers: HeaderFields): void {
    const res = this.#res;
    if (res === null) return;
    this.#finish(status);
    res.cork(() => {
      this.#head(res, status, headers);
      res.writeHeader("Content-Length", String(length));
      res.endWithoutBody();
    });
  }

  error(status: number, code: string, message: string, headers: HeaderFields = []): void {
    this.#answer(status, errorBody(code, message), headers, this.#closeAfter);
  }

  errorAndClose(status: number, code: string, message: string): void {
    this.#answer(status, errorBody(code, message), [], true);
  }

  /**
   * A body that comes piece by piece: `write` is the caller's from now on, and `onGone` is called
   * if the client goes away before its end. Null: it has gone already.
   */
  begin(status: number, headers: HeaderFields, onGone: () => void): UWS.HttpResponse | null {
    const res = this.#res;
    if (res === null) return null;
    this.#onGone = onGone;
    this.#hasBegun = true;
    res.cork(() => this.#head(res, status, headers));
    return res;
  }

  /** What `begin` began has been ended with this status. */
  ended(status: number): void {
    this.#onGone = null;
    this.#finish(status);
  }

  /** The connection ends here, whatever is on its way. */
  abort(): void {
    this.#res?.close();
  }

  /** A fault of ours: said when nothing was sent yet, else the answer is cut short. */
  failed(): void {
    if (this.#hasBegun) this.abort();
    else this.error(500, "internal", "failed; the gateway's log says why");
  }

  /**
   * An answer that closes goes out a turn later: a request pipelined behind this one in the same
   * read then meets one that is unanswered, and uWS closes instead of running it.
   */
  #answer(
    status: number,
    body: string | Uint8Array,
    headers: HeaderFields,
    closeConnection: boolean,
  ): void {
    if (closeConnection) setImmediate(() => this.#send(status, body, headers, true));
    else this.#send(status, body, headers, false);
  }

  #send(
    status: number,
    body: string | Uint8Array,
    headers: HeaderFields,
    closeConnection: boolean,
  ): void {
    const res = this.#res;
    if (res === null) return;
    this.#finish(status);
    res.cork(() => {
      this.#head(res, status, headers);
      const isEmpty = body.length === 0;
      if (!isEmpty && !headers.some(([name]) => name === "Content-Type")) {
        res.writeHeader("Content-Type", "application/json");
      }
      if ((this.#isHead || bodiless.has(status)) && !closeConnection) {
        // with a length for an argument it leaves the response open for ever
        const bytes = typeof body === "string" ? Buffer.byteLength(body) : body.byteLength;
        if (!bodiless.has(status)) res.writeHeader("Content-Length", String(bytes));
        res.endWithoutBody();
      } else {
        res.end(this.#isHead ? "" : body, closeConnection);
      }
    });
  }

  #head(res: UWS.HttpResponse, status: number, headers: HeaderFields): void {
    res.writeStatus(statusTexts[status]);
    for (const [name, value] of this.common) res.writeHeader(name, value);
    for (const [name, value] of headers) res.writeHeader(name, value);
  }

  #finish(status: number): void {
    if (this.#res === null) return;
    this.#res = null;
    this.#onOver?.(status);
  }
}

export function errorBody(code: string, message: string): string {
  return JSON.stringify({ error: { code, message } });
}
