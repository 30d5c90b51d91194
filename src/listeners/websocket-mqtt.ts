import type { UWS } from "../lib/uws.ts";
import { limits } from "../model/limits.ts";

/** What an MQTT connection sees of its WebSocket. It cannot be paused. */
export type MqttIo = {
  /** One binary frame; `bytes` are read before it returns. Nothing after the close. */
  write(bytes: Uint8Array): void;
  close(): void;
  /** Bytes the client has not taken yet. */
  buffered(): number;
};

export type MqttOverWebSocket = {
  /**
   * The payload of a binary frame: a packet, a part of one, or many [MQTT-6.0.0-2]. The bytes are
   * uWS's own and gone when it returns.
   */
  data(bytes: Uint8Array): void;
  closed(): void;
};

export type OpenMqtt = (io: MqttIo) => MqttOverWebSocket;

export type MqttSocketData = { lane: MqttOverWebSocket | null };

/** The subprotocol's name must be offered [MQTT-6.0.0-3] and is the one answered. */
export function offersMqtt(protocols: string): boolean {
  return protocols.split(",").some((name) => name.trim() === "mqtt");
}

/** `/mqtt`: MQTT on WebSocket frames; what the packets mean is the MQTT lane's business. */
export function mqttBehavior(openMqtt: OpenMqtt): UWS.WebSocketBehavior<MqttSocketData> {
  return {
    // clients put many packets in a frame; each packet has a limit of its own
    maxPayloadLength: limits.wsUnansweredBytesMax,
    compression: 0,
    // a dead peer is found by MQTT's keep-alive, and by the WebSocket's pings where that is off
    idleTimeout: limits.wsIdleSeconds,
    sendPingsAutomatically: true,
    maxBackpressure: 2 * limits.mqttOutboundBytesMax,
    closeOnBackpressureLimit: true,
    open: (ws) => {
      // methods of a closed uWS socket throw
      let socket: UWS.WebSocket<MqttSocketData> | null = ws;
      const data = ws.getUserData();
      const lane = openMqtt({
        write: (bytes) => {
          socket?.send(bytes, true);
        },
        close: () => {
          const open = socket;
          socket = null;
          open?.end(1000, "");
        },
        buffered: () => socket?.getBufferedAmount() ?? 0,
      });
      data.lane = {
        data: (bytes) => lane.data(bytes),
        closed: () => {
          const byPeer = socket !== null;
          // gone already: what the lane still says to it is dropped
          socket = null;
          // as with a TCP socket, the lane hears of its own close later, not inside it
          if (byPeer) lane.closed();
          else queueMicrotask(() => lane.closed());
        },
      };
    },
    message: (ws, message, isBinary) => {
      // [MQTT-6.0.0-1]
      if (!isBinary) ws.end(1003, "binary frames only");
      else ws.getUserData().lane?.data(new Uint8Array(message));
    },
    close: (ws) => {
      const data = ws.getUserData();
      data.lane?.closed();
      data.lane = null;
    },
  };
}
