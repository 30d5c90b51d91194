import { isDriverId } from "../codec/rewrite.ts";
import type { Admission } from "./admission.ts";
import { listenOn, omitServerHeader, uws, type UWS } from "../lib/uws.ts";
import type { Registry } from "../metrics/registry.ts";
import type { ErrorCode } from "../model/errors.ts";
import { foreignOrigin, parseQuery, readHead, type Head } from "../lib/http-guard.ts";
import { refuse } from "./exchange.ts";
import { HttpIngest } from "./http.ts";
import type { SocketData } from "./ingest-socket.ts";
import type { Claims, Intake } from "./intake-types.ts";
import { mqttBehavior, offersMqtt, type MqttSocketData, type OpenMqtt } from "./websocket-mqtt.ts";
import { WebSocketIngest } from "./websocket.ts";

export type DeviceAppOptions = {
  host: string;
  /** 0: any free port, for this worker alone: uWS shares a port only when it is named. */
  port: number;
  intake: Intake;
  admission: Admission;
  claims: Claims;
  openMqtt: OpenMqtt;
  /** Origins of web pages that may speak to the device port; devices send none. */
  allowOrigin: readonly string[];
  registry: Registry;
};

export type DeviceApp = {
  port: number;
  stopAccepting(): void;
  /** Refuses what is new with `reason`; resolves when all that was taken is answered. */
  drain(reason: ErrorCode): Promise<void>;
  /** Closes every connection. Without it the thread aborts at its end. */
  close(): void;
};

/**
 * A worker's listener on the device port: `/v1/ingest` as WebSocket and HTTP, `/mqtt`, and the
 * HTTP dialects. uWS listens with SO_REUSEPORT, so that workers share a port and the kernel
 * spreads connections over them; it also lets another process in, which is for the caller to
 * rule out. Rejects when the port cannot be had.
 */
export async function startDeviceApp(options: DeviceAppOptions): Promise<DeviceApp> {
  const { host, port, intake, admission, claims, openMqtt, allowOrigin, registry } = options;
  omitServerHeader();
  const http = new HttpIngest(intake, registry, allowOrigin);
  const websocket = new WebSocketIngest(intake, claims, registry);
  const httpConnections = registry.gauge("milepost_connections", "Open device connections", {
    transport: "http",
  });

  const app = uws.App();
  // +1 for each connection and -1 when it ends, but not for one that became a WebSocket
  app.filter((res, change) => {
    countHttp(Number(change) > 0 ? 1 : -1);
    if (Number(change) > 0 && admission.open > admission.max) res.close();
  });
  function countHttp(one: 1 | -1): void {
    httpConnections.value += one;
    admission.open += one;
  }

  /** Answers an upgrade that cannot be; true when it did. */
  function refused(res: UWS.HttpResponse, head: Head): boolean {
    const [status, code, message] = upgradeFault(head, allowOrigin) ?? [0, "", ""];
    if (status === 426) {
      http.begin(res, head).error(status, code, message, [["Sec-WebSocket-Version", "13"]]);
    } else if (status !== 0) {
      http.begin(res, head).errorAndClose(status, code, message);
    } else if (intake.refusing !== null || admission.full) {
      refuse(http.begin(res, head), intake.refusing ?? "backlog");
    } else {
      return false;
    }
    return true;
  }

  app.ws<SocketData>("/v1/ingest", {
    ...counted(admission, websocket.behavior()),
    upgrade: (res, req, context) => {
      const head = readHead(req);
      if (refused(res, head)) return;
      const params = parseQuery(head.query);
      const driver = params?.get("driver") ?? null;
      if (params === null || (driver !== null && !isDriverId(driver))) {
        const exchange = http.begin(res, head);
        return exchange.errorAndClose(400, "bad_id", "driver= is not a driver id");
      }
      countHttp(-1);
      res.upgrade(
        websocket.socketFor(driver),
        req.getHeader("sec-websocket-key"),
        // an ingest socket speaks no subprotocol; extensions are off
        "",
        "",
        context,
      );
    },
  });

  app.ws<MqttSocketData>("/mqtt", {
    ...counted(admission, mqttBehavior(openMqtt)),
    upgrade: (res, req, context) => {
      const head = readHead(req);
      if (refused(res, head)) return;
      if (!offersMqtt(head.websocketProtocol)) {
        const exchange = http.begin(res, head);
        return exchange.errorAndClose(400, "bad_request", "the subprotocol mqtt must be offered");
      }
      countHttp(-1);
      res.upgrade({ lane: null }, req.getHeader("sec-websocket-key"), "mqtt", "", context);
    },
  });

  app.any("/*", (res, req) => http.handle(res, req));

  const listening = await listenOn(app, host, port).catch((error: unknown) => {
    http.close();
    throw error;
  });
  return {
    port: listening.port,
    stopAccepting: listening.stopAccepting,
    drain: async (reason) => {
      await Promise.all([websocket.drain(reason), http.drain(reason)]);
    },
    close: () => {
      http.close();
      listening.close();
    },
  };
}

function counted<T>(
  admission: Admission,
  behavior: UWS.WebSocketBehavior<T>,
): UWS.WebSocketBehavior<T> {
  return {
    ...behavior,
    open: (ws) => {
      admission.open++;
      return behavior.open?.(ws);
    },
    close: (ws, code, message) => {
      admission.open--;
      behavior.close?.(ws, code, message);
    },
  };
}

function upgradeFault(
  head: Head,
  allowOrigin: readonly string[],
): [status: number, code: string, message: string] | null {
  if (head.fault !== null) return [400, "bad_request", head.fault];
  if (head.contentLength > 0) return [400, "bad_request", "an upgrade has no body"];
  if (head.websocketVersion !== "13") {
    return [426, "upgrade_required", "WebSocket version 13 is spoken here"];
  }
  if (foreignOrigin(head, allowOrigin)) {
    return [403, "foreign_origin", "this origin is not allowed"];
  }
  return null;
}
