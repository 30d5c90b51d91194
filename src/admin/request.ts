import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { isLoopback } from "../config/address.ts";
import { HttpError } from "./http-error.ts";

export type Target = {
  /** Decoded; never empty, `.`, `..`, nor with a slash or control character inside. */
  segments: string[];
  query: URLSearchParams;
};

const encodedSeparator = /%(2f|5c|00)/i;
const notInSegment = /[/\\\u0000-\u001f\u007f]/;

/** Takes a request's target apart; 400 for anything that tries to leave its place. */
export function parseTarget(url: string): Target {
  const refusal = new HttpError(400, "bad_request", "malformed path");
  const [path, query = ""] = url.split(/\?(.*)/s, 2);
  if (!path.startsWith("/") || encodedSeparator.test(path)) throw refusal;
  const segments = path === "/" ? [] : path.slice(1).split("/").map(decode);
  for (const segment of segments) {
    if (segment === null || segment === "" || segment === "." || segment === "..") throw refusal;
    if (notInSegment.test(segment)) throw refusal;
  }
  return { segments: segments as string[], query: new URLSearchParams(query) };
}

function decode(segment: string): string | null {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

/**
 * Keeps web pages out: a page elsewhere may not call the admin port from its visitor's browser
 * (Origin), nor reach it under a name of its own that it points at this machine (DNS rebinding).
 * Programs send no Origin; Prometheus may use any name when the port is open to the network.
 */
export function refuseWebPages(request: IncomingMessage, boundTo: string): void {
  const { host, origin } = request.headers;
  const name = host === undefined ? null : hostName(host);
  const ownName =
    name === null || isIP(name) !== 0 || isLoopback(name) || name === boundTo.toLowerCase();
  if (!ownName && (isLoopback(boundTo) || origin !== undefined)) {
    throw new HttpError(403, "forbidden_host", "not a name of this server");
  }
  if (origin === undefined) return;
  if (host === undefined || !URL.canParse(origin) || new URL(origin).host !== host.toLowerCase()) {
    throw new HttpError(403, "forbidden_origin", "web pages of another origin may not call this");
  }
}

/** `[::1]:9600` → `::1`, `localhost:9600` → `localhost`. */
function hostName(host: string): string {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(host);
  return (match?.[1] ?? match?.[2] ?? host).toLowerCase();
}

/**
 * The whole body, at most `bytesMax`, else 413. What comes after that is read and thrown away, so
 * that the answer is not lost to a reset; a body that does not end is the server's timeout's.
 */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
  const tooLarge = new HttpError(413, "too_large", `the body may have ${bytesMax} bytes`);
  if (Number(request.headers["content-length"]) > bytesMax) {
    request.resume();
    throw tooLarge;
  }
  const chunks: Buffer[] = [];
  let length = 0;
  await new Promise<void>((resolve, reject) => {
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= bytesMax) chunks.push(chunk);
      else reject(tooLarge);
    });
    request.on("end", resolve);
    const aborted = (): void => reject(new HttpError(400, "aborted", "the body ended early"));
    request.on("error", aborted);
    request.on("close", aborted);
  });
  return Buffer.concat(chunks, length);
}

/** A JSON object; 400 for anything else. */
export async function readJson(
  request: IncomingMessage,
  bytesMax: number,
): Promise<Record<string, unknown>> {
  const bytes = await readBody(request, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new HttpError(400, "bad_json", "the body is not valid JSON");
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new HttpError(400, "bad_json", "the body is not a JSON object");
  }
  return value as Record<string, unknown>;
}
