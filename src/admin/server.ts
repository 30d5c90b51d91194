import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { AdminBackend } from "./backend.ts";
import { HttpError, toHttpError } from "./http-error.ts";
import { parseTarget, refuseWebPages } from "./request.ts";
import type { Answer } from "./routes.ts";
import { findRoute } from "./routes.ts";

export type AdminOptions = {
  host: string;
  /** 0 = any free port. */
  port: number;
  /** A line per change made here, and per fault; to stderr when left out. */
  log?: (line: string) => void;
  /** A whole request, headers and body, must arrive within this; 10 s when left out. */
  requestMs?: number;
  /** Connections at once; more are closed on arrival. 256 when left out. */
  connectionsMax?: number;
};

type Result = Answer & { headers?: Record<string, string> };

const toStderr = (line: string): void => void process.stderr.write(`milepost: ${line}\n`);

/** What is still being answered when the port closes gets this long. */
const closeMs = 2000;

/** Rejects with the system's error when the port cannot be had. */
export async function startAdmin(
  options: AdminOptions,
  backend: AdminBackend,
): Promise<{ port: number; close(): Promise<void> }> {
  const requestMs = options.requestMs ?? 10_000;
  const server = createServer(
    {
      requestTimeout: requestMs,
      headersTimeout: requestMs,
      connectionsCheckingInterval: Math.min(1000, requestMs),
      keepAliveTimeout: 5000,
      maxHeaderSize: 8 * 1024,
    },
    (request, response) => void answer(request, response, options, backend),
  );
  server.maxConnections = options.connectionsMax ?? 256;
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, close: () => close(server) };
}

function listen(server: Server, { host, port }: AdminOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeMs);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: AdminOptions,
  backend: AdminBackend,
): Promise<void> {
  const { method = "" } = request;
  const log = options.log ?? toStderr;
  let audited = false;
  let result: Result;
  try {
    refuseWebPages(request, options.host);
    const { segments, query } = parseTarget(request.url ?? "");
    audited = segments[1] === "admin" && method !== "GET" && method !== "HEAD";
    const { handler, name } = findRoute(method, segments);
    result = await handler({ backend, request, query, name });
  } catch (error) {
    const refusal = toHttpError(error) ?? fault(error, request, log);
    const { status, code, message, headers } = refusal;
    result = { status, body: { error: { code, message } }, headers };
  }
  if (audited) {
    const path = JSON.stringify(request.url?.split("?")[0] ?? "");
    log(`admin: ${method} ${path} from ${request.socket.remoteAddress}: ${result.status}`);
  }
  send(response, result);
}

function fault(error: unknown, request: IncomingMessage, log: (line: string) => void): HttpError {
  const stack = error instanceof Error ? error.stack : String(error);
  log(`admin: ${request.method} ${JSON.stringify(request.url)} failed: ${stack}`);
  return new HttpError(500, "internal", "failed; the gateway's log says why");
}

function send(response: ServerResponse, result: Result): void {
  if (response.destroyed || response.headersSent) return;
  const { status, body, headers } = result;
  response.writeHead(status, {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...headers,
    ...(body === undefined ? {} : { "content-type": result.type ?? contentType(body) }),
  });
  // what is left of a refused body is read and dropped; the request's timeout bounds it
  response.req.resume();
  if (body === undefined) response.end();
  else response.end(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
}

function contentType(body: object | string): string {
  return typeof body === "string" ? "text/plain; charset=utf-8" : "application/json";
}
