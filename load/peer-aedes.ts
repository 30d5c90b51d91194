/**
 * A peer: aedes from npm behind `net`, as its documentation shows it. No log, no persistence.
 *
 *   node load/peer-aedes.ts [--port 0]     prints {"port":…,"pid":…}
 */
import { createServer } from "node:net";
import { Aedes } from "aedes";
import { announce, portOption } from "./floor.ts";

const broker = await Aedes.createBroker();
const server = createServer({ noDelay: true }, broker.handle);
server.listen({ port: portOption(), host: "127.0.0.1", backlog: 4096 }, () => {
  const address = server.address();
  announce(typeof address === "object" && address !== null ? address.port : 0);
});
