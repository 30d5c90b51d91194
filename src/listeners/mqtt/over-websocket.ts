/** MQTT over WebSocket: the same connection on frames instead of reads. */
import type { MqttLane } from "./lane.ts";

/** One WebSocket. It cannot be paused: the connection's own bounds close it instead. */
export type FrameIo = {
  write(bytes: Uint8Array): void;
  close(): void;
  buffered(): number;
};

export type FrameHandler = { data(bytes: Uint8Array): void; closed(): void };

export function openMqttOver(lane: MqttLane, io: FrameIo): FrameHandler {
  const connection = lane.open({ ...io, pause: nothing, resume: nothing }, "websocket");
  return {
    data: (b) => connection.data(Buffer.from(b.buffer, b.byteOffset, b.length), b.length),
    closed: () => connection.closed(),
  };
}

const nothing = (): void => {};
