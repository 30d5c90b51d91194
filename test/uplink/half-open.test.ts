/** A peer that is gone without a word: no power, or a firewall that forgot the connection. */
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClusterClient, clusterOptions, LATEST } from "../../src/uplink/cluster-client.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";

let cluster: Gateway;
let line: Server;
const sockets = new Set<Socket>();
/** Nothing comes through those. */
const dead = new Set<Socket>();

beforeAll(async () => {
  const args = ["--live", "off", "--host", "127.0.0.1", "--advertise", "127.0.0.2"];
  cluster = await startGateway({ args });
  const port = cluster.ports.kafka;
  line = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(from);
      from.on("data", (bytes) => !dead.has(from) && to.write(bytes));
      from.on("error", () => {});
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => line.listen(port, "127.0.0.2", resolve));
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  line?.close();
  await cluster?.stop();
});

test("after one request without an answer there is a new connection", async () => {
  const brokers = [`127.0.0.2:${cluster.ports.kafka}`];
  const client = new ClusterClient(clusterOptions(brokers, "test", 300));
  const read = () => client.read("positions", 0, 0, 1024);
  const ends = () => client.offsets("positions", LATEST);
  expect((await read()).errorCode).toBe(0);
  expect(await ends()).toHaveLength(16);
  for (const socket of sockets) dead.add(socket);
  await expect(read()).rejects.toThrow();
  await expect(ends()).rejects.toThrow();
  await expect.poll(async () => (await read()).errorCode, { timeout: 5000 }).toBe(0);
  await expect.poll(ends, { timeout: 5000 }).toHaveLength(16);
  await client.close();
});
