import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { generate, parser } from "mqtt-packet";
import { WebSocketServer } from "ws";
import type { WebSocket } from "ws";

/** What a server has taken: the pings of each driver in the order they came. */
export type Taken = {
  seqs: Map<string, number[]>;
  /** Texts of all pings, as sent. */
  texts: string[];
  events: string[];
  connections: number;
  duplicates: number;
};

export type Unsteady = { port: number; taken: Taken; close: () => Promise<void> };

export type Moods = {
  /** Odds, at each message, to cut the connection: before or after it is taken. */
  cut: number;
  /** Answers are this late, ms. */
  lateMs: number;
};

function newTaken(): Taken {
  return { seqs: new Map(), texts: [], events: [], connections: 0, duplicates: 0 };
}

function take(taken: Taken, driver: string, payload: string): number {
  const body = JSON.parse(payload);
  const pings = Array.isArray(body) ? body : [body];
  for (const ping of pings) {
    if (ping.id !== driver) throw new Error(`ping of ${ping.id} from ${driver}`);
    const seqs = taken.seqs.get(driver) ?? [];
    taken.seqs.set(driver, seqs);
    seqs.push(ping.seq);
  }
  taken.texts.push(payload);
  return pings.length;
}

/** As much of an MQTT broker as a publisher meets, on a bad day. */
export async function unsteadyBroker(moods: Moods): Promise<Unsteady> {
  const taken = newTaken();
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    taken.connections++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    const read = parser({ protocolVersion: 4 });
    socket.on("data", (bytes) => read.parse(bytes));
    read.on("packet", (packet) => {
      if (packet.cmd === "connect") {
        if (packet.protocolVersion !== 4 || !packet.clean) throw new Error("a strange CONNECT");
        socket.write(generate({ cmd: "connack", returnCode: 0, sessionPresent: false }));
      } else if (packet.cmd === "pingreq") {
        socket.write(generate({ cmd: "pingresp" }));
      } else if (packet.cmd === "publish" && !socket.destroyed) {
        const [, driver, kind] = /^fleet\/(.+)\/(position|event)$/.exec(packet.topic)!;
        const dice = Math.random();
        if (dice < moods.cut / 2) return void socket.destroy();
        if (packet.dup) taken.duplicates++;
        if (kind === "event") taken.events.push(packet.payload.toString());
        else take(taken, driver, packet.payload.toString());
        if (dice < moods.cut) return void socket.destroy();
        if (packet.qos === 0) return;
        const { messageId } = packet;
        setTimeout(() => socket.write(generate({ cmd: "puback", messageId })), moods.lateMs);
      }
    });
  });
  return { ...(await listen(server)), taken, close: () => close(server, sockets) };
}

type WsMoods = Moods & {
  /** Odds to answer with a nack, taking nothing. */
  nack?: number;
  /** Rejects pings whose seq is a multiple of this. */
  rejectEvery?: number;
};

/** The WebSocket ingest of a gateway, on a bad day. */
export async function unsteadyIngest(moods: WsMoods): Promise<Unsteady> {
  const taken = newTaken();
  const http = createServer();
  const sockets = new Set<Socket>();
  http.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  const server = new WebSocketServer({ server: http, path: "/v1/ingest" });
  server.on("connection", (socket: WebSocket, request) => {
    taken.connections++;
    socket.on("error", () => {});
    const driver = new URL(request.url!, "http://x").searchParams.get("driver")!;
    let frames = 0;
    let ended = false;
    socket.on("message", (data, isBinary) => {
      if (isBinary) throw new Error("a binary frame");
      if (ended) return;
      const n = ++frames;
      const dice = Math.random();
      if (dice < moods.cut / 2) ended = true;
      if (ended) return socket.terminate();
      if (moods.nack !== undefined && Math.random() < moods.nack) {
        ended = true;
        const nack = { nack: n, reason: "backlog", retryAfter: 0.1 };
        setTimeout(() => socket.send(JSON.stringify(nack)), moods.lateMs);
        setTimeout(() => socket.close(1013), moods.lateMs);
        return;
      }
      const text = data.toString();
      const first = taken.seqs.get(driver)?.length ?? 0;
      const pings = take(taken, driver, text);
      if (dice < moods.cut) ended = true;
      if (ended) return socket.terminate();
      const every = moods.rejectEvery ?? Infinity;
      const seqs = taken.seqs.get(driver)!.slice(first);
      const rejected = seqs.flatMap((seq, i) =>
        seq % every === 0 ? [{ i, reason: "bad_position" }] : [],
      );
      const p = seqs.map((seq) => (seq % every === 0 ? null : [0, seq]));
      const ack = { ack: n, accepted: pings - rejected.length, rejected, p };
      setTimeout(() => socket.send(JSON.stringify(ack)), moods.lateMs);
    });
  });
  return { ...(await listen(http)), taken, close: () => close(http, sockets) };
}

type Listening = { listen: (port: number, host: string, done: () => void) => unknown };

async function listen(server: Listening & { address: () => unknown }): Promise<{ port: number }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port };
}

async function close(
  server: { close: (done: () => void) => unknown },
  sockets: Set<Socket>,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of sockets) socket.destroy();
  await closed;
}
