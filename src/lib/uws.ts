import { createRequire } from "node:module";
import type * as UWS from "uws-glibc-2.27";

export type * as UWS from "uws-glibc-2.27";

/**
 * uWebSockets.js is a native addon: its newest release serves Node 22 to 26 but needs glibc 2.38,
 * an older one serves Node 22 on glibc 2.27 (Debian 12). Both are installed under aliases and the
 * first one whose binary loads is used.
 */
const aliases = ["uws-glibc-2.38", "uws-glibc-2.27"];

function load(): { uws: typeof UWS; uwsPackage: string } {
  const require = createRequire(import.meta.url);
  const failures: string[] = [];
  for (const alias of aliases) {
    try {
      return { uws: require(alias) as typeof UWS, uwsPackage: alias };
    } catch (error) {
      failures.push(`${alias}: ${(error as Error).message.split("\n", 1)[0]}`);
    }
  }
  throw new Error(`uWebSockets.js cannot be loaded: ${failures.join("; ")}`);
}

export const { uws, uwsPackage } = load();

/** uWS names itself in a header of each answer unless told so in its own way. */
export function omitServerHeader(): void {
  (uws as unknown as { _cfg?: (key: string) => void })._cfg?.("999999990007");
}

export type Listening = {
  port: number;
  stopAccepting(): void;
  /** Closes the app and its connections. */
  close(): void;
};

/** Rejects when the port cannot be had: the app is closed then. */
export function listenOn(app: UWS.TemplatedApp, host: string, port: number): Promise<Listening> {
  return new Promise((resolve, reject) => {
    app.listen(host, port, (socket) => {
      if (!socket) {
        app.close();
        reject(new Error(`cannot listen on ${host}:${port}`));
        return;
      }
      let isListening = true;
      resolve({
        port: uws.us_socket_local_port(socket as UWS.us_socket),
        stopAccepting: () => {
          if (isListening) uws.us_listen_socket_close(socket);
          isListening = false;
        },
        close: () => {
          isListening = false;
          app.close();
        },
      });
    });
  });
}
