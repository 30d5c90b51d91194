import type { UWS } from "./uws.ts";

/** What is kept of a request's head: uWS lets go of the request when its handler returns. */
export type Head = {
  /** Upper case, as sent. */
  method: string;
  path: string;
  /** Raw, without the `?`. */
  query: string;
  /** -1: none given, or chunked. */
  contentLength: number;
  chunked: boolean;
  /** Lower case, without parameters. */
  contentType: string;
  /** Name and port that the client asked for; empty: none given. */
  host: string;
  origin: string | null;
  /** OwnTracks' names for user and device when they are not in the query. */
  limitU: string;
  limitD: string;
  websocketVersion: string;
  websocketProtocol: string;
  /** Why the request is answered 400 and the connection closed; null when it is well framed. */
  fault: string | null;
};

const digits = /^[0-9]{1,15}$/;

/**
 * One pass over the headers. uWS 20.51 takes the first of several Content-Length fields and calls
 * any Transfer-Encoding chunked; a proxy in front may read either differently, and the rest of
 * the bytes would be a request of its own (request smuggling, RFC 9112 §6.3, §11.2).
 */
export function readHead(req: UWS.HttpRequest): Head {
  const head: Head = {
    method: req.getCaseSensitiveMethod().toUpperCase(),
    path: req.getUrl(),
    query: req.getQuery() ?? "",
    contentLength: -1,
    chunked: false,
    contentType: "",
    host: "",
    origin: null,
    limitU: "",
    limitD: "",
    websocketVersion: "",
    websocketProtocol: "",
    fault: null,
  };
  let lengths = 0;
  let encodings = 0;
  req.forEach((name, value) => {
    switch (name) {
      case "content-length":
        if (++lengths > 1) head.fault = "more than one Content-Length";
        else if (!digits.test(value)) head.fault = "Content-Length is not a number";
        else head.contentLength = Number(value);
        break;
      case "transfer-encoding":
        if (++encodings > 1) head.fault = "more than one Transfer-Encoding";
        else if (value.toLowerCase() !== "chunked") head.fault = "Transfer-Encoding is not chunked";
        head.chunked = true;
        break;
      case "content-type":
        head.contentType = value.split(";", 1)[0].trim().toLowerCase();
        break;
      case "host":
        head.host = value.toLowerCase();
        break;
      case "origin":
        head.origin = value;
        break;
      case "x-limit-u":
        head.limitU = value;
        break;
      case "x-limit-d":
        head.limitD = value;
        break;
      case "sec-websocket-version":
        head.websocketVersion = value;
        break;
      case "sec-websocket-protocol":
        // the field may be repeated [RFC 6455 §11.3.4]
        head.websocketProtocol += head.websocketProtocol === "" ? value : `,${value}`;
        break;
    }
  });
  if (lengths > 0 && encodings > 0) head.fault = "Content-Length with Transfer-Encoding";
  return head;
}

/**
 * A device is no browser and sends no Origin. A page that a browser on this machine or network
 * has open must not feed the log, so one that is not on the list is refused (ASVS 4.4.2); `Host`
 * is not consulted, because DNS rebinding makes it agree with any Origin.
 */
export function foreignOrigin(head: Head, allowOrigin: readonly string[]): boolean {
  if (head.origin === null || allowOrigin.includes("*")) return false;
  return !allowOrigin.includes(head.origin);
}

/** Parameters of a query or of an urlencoded body; the last of a name wins. Null: malformed. */
export function parseQuery(raw: string): Map<string, string> | null {
  const params = new Map<string, string>();
  if (raw === "") return params;
  try {
    for (const pair of raw.split("&")) {
      if (pair === "") continue;
      const equals = pair.indexOf("=");
      const name = equals === -1 ? pair : pair.slice(0, equals);
      params.set(decode(name), equals === -1 ? "" : decode(pair.slice(equals + 1)));
    }
  } catch {
    return null;
  }
  return params;
}

/** Throws on a `%` that is not followed by the escape of a UTF-8 character. */
function decode(text: string): string {
  return decodeURIComponent(text.includes("+") ? text.replaceAll("+", " ") : text);
}
