import { once } from "node:events";
import net from "node:net";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { openDevicePort, RawConnection } from "./device-port.ts";

const worker = new URL("./device-port-worker.ts", import.meta.url);

let workers: Worker[] = [];
afterEach(async () => {
  for (const each of workers) each.postMessage("close");
  const codes = await Promise.all(workers.map((each) => once(each, "exit")));
  expect(codes.flat()).toEqual(workers.map(() => 0));
  workers = [];
});

async function startWorker(port: number): Promise<number> {
  const started = new Worker(worker, { workerData: { port } });
  workers.push(started);
  const [actual] = await once(started, "message");
  return actual;
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

describe("a device port", () => {
  it("is shared by workers, and the kernel spreads connections", async () => {
    const port = await freePort();
    expect(await startWorker(port)).toBe(port);
    expect(await startWorker(port)).toBe(port);
    expect(await startWorker(port)).toBe(port);
    const seen = new Set<string>();
    // three workers, by a hash of the client's port: 200 tries miss one in 10^-35 of runs
    for (let i = 0; i < 200 && seen.size < 3; i++) {
      const connection = await RawConnection.open(port);
      connection.send('POST /v1/ingest HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"lat":1}');
      await connection.until((text) => text.includes("}"));
      connection.destroy();
      for (const each of workers) each.postMessage("taken?");
      const answers = await Promise.all(workers.map((each) => once(each, "message")));
      answers.forEach(([taken], at) => taken > 0 && seen.add(String(at)));
    }
    expect(seen.size).toBe(3);
  });

  it("cannot be had while something else listens without sharing", async () => {
    const other = net.createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as net.AddressInfo;
    await expect(openDevicePort(undefined, port)).rejects.toThrow(String(port));
    other.close();
  });

  it("stops accepting and goes on serving who is there", async () => {
    const gateway = await openDevicePort();
    const connection = await RawConnection.open(gateway.port);
    connection.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    await connection.until((text) => text.includes("}"));
    gateway.app.stopAccepting();
    gateway.app.stopAccepting();
    await expect(RawConnection.open(gateway.port)).rejects.toThrow("ECONNREFUSED");
    connection.clear();
    connection.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(await connection.until((text) => text.includes("}"))).toContain("404");
    gateway.close();
    await connection.closed();
  });
});
