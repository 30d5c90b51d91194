import { UsageError } from "./failure.ts";

export const defaultAdminServer = "127.0.0.1:9600";
export const defaultKafkaServer = "127.0.0.1:9092";

export type Address = { host: string; port: number };

/** What `--server` takes: a name or address, with a port or without. */
export function parseServer(server: string, defaultServer: string): Address {
  const match = /^(\[[0-9a-f:]+\]|[a-z0-9_.-]+)(?::(\d{1,5}))?$/i.exec(server);
  const port = match?.[2] ?? defaultServer.slice(defaultServer.lastIndexOf(":") + 1);
  if (match === null || Number(port) > 65_535) {
    throw new UsageError(`--server: expected HOST:PORT such as ${defaultServer}, not "${server}"`);
  }
  return { host: match[1], port: Number(port) };
}
