/**
 * The MQTT port of one worker, on bare TCP. Every socket reads into one buffer of the thread, which
 * the connection scans before it returns. Measured with 10 000 sockets and one message a read:
 * 6.6-7.9 µs a message against 8.9-9.4 µs with 'data' events.
 */
import net from "node:net";
import { readInto } from "../../lib/read-into.ts";
import type { Admission } from "../admission.ts";
import type { Io } from "./connection.ts";
import type { MqttLane } from "./lane.ts";

const READ_BYTES = 64 * 1024;
/** Sockets that wait to be accepted: a fleet reconnects at once. */
const BACKLOG = 8192;
/** A peer that does not take the last bytes is cut off after this long. */
const LINGER_MS = 5000;

export type MqttServer = { port: number; stopAccepting(): void };

export function listenMqtt(
  lane: MqttLane,
  admission: Admission,
  host: string,
  port: number,
): Promise<MqttServer> {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  const server = net.createServer({ noDelay: true, pauseOnConnect: true }, (accepted) => {
    if (admission.full) return void accepted.destroy();
    admission.open++;
    adopt(lane, accepted, buffer, () => admission.open--);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog: BACKLOG, reusePort: true }, () => {
      server.removeListener("error", reject);
      // running out of descriptors ends an accept, never the process
      server.on("error", () => {});
      const { port: bound } = server.address() as net.AddressInfo;
      resolve({ port: bound, stopAccepting: () => server.close() });
    });
  });
}

function adopt(lane: MqttLane, accepted: net.Socket, buffer: Buffer, onClosed: () => void): void {
  const remote = accepted.remoteAddress ?? "";
  const socket = readInto(accepted, buffer, (bytes) => connection.data(buffer, bytes));
  const connection = lane.open(ioOf(socket), remote);
  socket.on("error", ignore);
  socket.on("drain", () => connection.drained());
  socket.on("close", () => {
    onClosed();
    connection.closed();
  });
  if (!lane.producer.paused) socket.resume();
}

const ignore = (): void => {};

function ioOf(socket: net.Socket): Io {
  return {
    write: (bytes) => socket.write(bytes),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    buffered: () => socket.writableLength,
    close: () => {
      if (socket.writableLength === 0) return void socket.destroySoon();
      socket.end();
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    },
  };
}
