/**
 * Ports that workers share with `reusePort` would let a second process in without a word: each is
 * bound once without it first. Port 0 becomes a free port here, so that all workers get the same.
 */
import net from "node:net";

export class PortInUse extends Error {
  constructor(what: string, host: string, port: number, code: string) {
    const why = code === "EADDRINUSE" ? "is in use" : `cannot be bound (${code})`;
    super(`${what} port ${host}:${port} ${why}; choose another with --${what}-port`);
    this.name = "PortInUse";
  }
}

export function probePort(what: string, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new PortInUse(what, host, port, error.code ?? "unknown"));
    });
    server.listen({ host, port, exclusive: true }, () => {
      const { port: bound } = server.address() as net.AddressInfo;
      server.close(() => resolve(bound));
    });
  });
}
