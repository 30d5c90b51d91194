/** A worker's own metrics and health, on loopback. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { prometheusContentType, toPrometheus } from "../metrics/prometheus.ts";
import type { Progress } from "./progress.ts";
import { SinkFailure } from "./target.ts";

export async function startSinkAdmin(
  port: number,
  progress: Progress,
): Promise<{ port: number; close(): Promise<void> }> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    request.resume();
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" || (path !== "/metrics" && path !== "/livez")) {
      response.writeHead(404).end();
      return;
    }
    const type = path === "/metrics" ? prometheusContentType : "text/plain; charset=utf-8";
    response.writeHead(200, { "content-type": type, "cache-control": "no-store" });
    response.end(path === "/metrics" ? toPrometheus(progress.registry.snapshot()) : "ok\n");
  });
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "is in use" : `cannot be bound (${error.code})`;
      reject(new SinkFailure(`port 127.0.0.1:${port} ${why}; choose another with --admin-port`));
    });
    server.listen({ host: "127.0.0.1", port }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
