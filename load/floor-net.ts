/**
 * The floor under every MQTT figure: Node's `net` and nothing else. CONNECT gets CONNACK, a QoS 1
 * PUBLISH gets its PUBACK; no topic is looked at, nothing is kept. Acknowledgements of one chunk
 * go out in one write.
 *
 *   node load/floor-net.ts [--port 0]     prints {"port":…,"pid":…}
 */
import { type Socket, createServer } from "node:net";
import { announce, portOption } from "./floor.ts";

const connack = Buffer.from([0x20, 2, 0, 0]);
const CONNECT = 1;
const PUBLISH = 3;

function serve(socket: Socket): void {
  let rest: Buffer | null = null;
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest === null ? chunk : Buffer.concat([rest, chunk]);
    const end = answerPackets(socket, bytes);
    rest = end < bytes.length ? bytes.subarray(end) : null;
  });
  socket.on("error", () => socket.destroy());
}

/** Answers every whole packet of `bytes`; returns where the first incomplete one begins. */
function answerPackets(socket: Socket, bytes: Buffer): number {
  // A QoS 1 PUBLISH is never shorter than the four bytes that answer it.
  let acks: Buffer | null = null;
  let acksEnd = 0;
  let at = 0;
  for (;;) {
    let body = at + 1;
    let remaining = 0;
    let shift = 0;
    let byte = 128;
    while (byte >= 128 && body < bytes.length) {
      byte = bytes[body++];
      remaining |= (byte & 127) << shift;
      shift += 7;
    }
    if (byte >= 128 || body + remaining > bytes.length) break;
    const type = bytes[at] >> 4;
    if (type === CONNECT) socket.write(connack);
    if (type === PUBLISH && (bytes[at] & 6) === 2) {
      const id = body + 2 + ((bytes[body] << 8) | bytes[body + 1]);
      acks ??= Buffer.allocUnsafe(Math.max(4, bytes.length - at));
      acks[acksEnd++] = 0x40;
      acks[acksEnd++] = 2;
      acks[acksEnd++] = bytes[id];
      acks[acksEnd++] = bytes[id + 1];
    }
    at = body + remaining;
  }
  if (acks !== null) socket.write(acks.subarray(0, acksEnd));
  return at;
}

const server = createServer({ noDelay: true }, serve);
server.listen({ port: portOption(), host: "127.0.0.1", backlog: 4096 }, () => {
  const address = server.address();
  announce(typeof address === "object" && address !== null ? address.port : 0);
});
