/** MQTT over WebSocket: the same connection on frames instead of reads. */
import type { MqttIo, MqttOverWebSocket } from "../websocket-mqtt.ts";
import type { MqttLane } from "./lane.ts";

export function openMqttOver(lane: MqttLane, io: MqttIo): MqttOverWebSocket {
  const write = (bytes: Uint8Array): boolean => {
    io.write(bytes);
    // uWS keeps what the peer does not take, to its own bound
    return io.buffered() === 0;
  };
  const connection = lane.open(
    { write, close: io.close, buffered: io.buffered, pause: nothing, resume: nothing },
    "websocket",
  );
  return {
    data: (b) => connection.data(Buffer.from(b.buffer, b.byteOffset, b.length), b.length),
    closed: () => connection.closed(),
  };
}

const nothing = (): void => {};
