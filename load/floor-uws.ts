/**
 * The floor under every WebSocket figure: bare uWebSockets.js that sends each frame back. No JSON
 * is read, nothing is kept.
 *
 *   node load/floor-uws.ts [--port 0]     prints {"port":…,"pid":…}
 */
import { uws } from "../src/lib/uws.ts";
import { announce, portOption } from "./floor.ts";

uws
  .App()
  .ws("/*", {
    idleTimeout: 120,
    maxPayloadLength: 1024 * 1024,
    maxBackpressure: 16 * 1024 * 1024,
    message: (ws, message, isBinary) => void ws.send(message, isBinary),
  })
  .listen("127.0.0.1", portOption(), (listening) => {
    if (!listening) throw new Error("uWebSockets.js could not listen");
    announce(uws.us_socket_local_port(listening));
  });
