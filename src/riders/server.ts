/**
 * The port for riders: live positions over WebSocket (the Centrifugo protocol) and SSE, look-ups
 * over REST, and the map. Nothing here can write to the log.
 */
import { uws, type UWS } from "../lib/uws.ts";
import type { RiderServices } from "./services.ts";

export type RidersOptions = RiderServices & { host: string; port: number };

export type Riders = {
  port: number;
  /** Tells clients to come back, and takes no new ones. */
  drain(): Promise<void>;
  /** Closes every connection. Without it the thread aborts at its end. */
  close(): void;
};

export async function startRiders({ host, port }: RidersOptions): Promise<Riders> {
  const app = uws.App();
  app.any("/*", (res) => {
    res.writeStatus("404 Not Found").end("");
  });
  const listening = await new Promise<UWS.us_listen_socket>((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (socket) return resolve(socket);
      app.close();
      reject(new Error(`cannot listen on ${host}:${port}`));
    });
  });
  return {
    port: uws.us_socket_local_port(listening as UWS.us_socket),
    drain: () => Promise.resolve(),
    close: () => void app.close(),
  };
}
