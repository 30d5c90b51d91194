/**
 * The port for riders: live positions over WebSocket (the Centrifugo protocol) and SSE, look-ups
 * over REST, and the map. Nothing here can write to the log.
 */
import { listenOn, omitServerHeader, uws } from "../lib/uws.ts";
import { Descriptors } from "../model/connection-shares.ts";
import { RiderHttp } from "./http.ts";
import { Pressure } from "./pressure.ts";
import type { RiderServices } from "./services.ts";
import { RiderSockets } from "./websocket.ts";

export type RidersOptions = RiderServices & {
  host: string;
  port: number;
  dataDir: string;
};

export type Riders = {
  port: number;
  /** Tells clients to come back, and takes no new ones. */
  drain(): Promise<void>;
  /** Closes every connection. Without it the thread aborts at its end. */
  close(): void;
};

export async function startRiders(options: RidersOptions): Promise<Riders> {
  const { host, port } = options;
  omitServerHeader();
  const app = uws.App();
  const pressure = new Pressure();
  const http = new RiderHttp(options, pressure);
  const sockets = new RiderSockets(options, pressure);
  const descriptors = new Descriptors();
  let open = 0;
  // uWS tells of the end of a connection unless it became a WebSocket
  sockets.onClosed = () => void open--;
  app.filter((res, change) => {
    if (Number(change) > 0 && !descriptors.admitRider(open)) res.close();
    open += Number(change) > 0 ? 1 : -1;
  });
  app.ws("/connection/websocket", sockets.behavior(http));
  app.any("/*", (res, req) => http.handle(res, req));
  const listening = await listenOn(app, host, port);
  return {
    port: listening.port,
    drain: async () => {
      listening.stopAccepting();
      sockets.drain();
      await http.drain();
    },
    close: () => {
      http.close();
      sockets.close();
      listening.close();
    },
  };
}
