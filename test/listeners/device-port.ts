import { Admission } from "../../src/listeners/admission.ts";
import { once } from "node:events";
import net from "node:net";
import { MessageChannel } from "node:worker_threads";
import { ClaimRegistry, ClaimsPort } from "../../src/listeners/claims.ts";
import { startDeviceApp, type DeviceApp } from "../../src/listeners/device-app.ts";
import type { OpenMqtt } from "../../src/listeners/websocket-mqtt.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { SmallIntake } from "./small-intake.ts";

export type DevicePort = {
  app: DeviceApp;
  port: number;
  intake: SmallIntake;
  registry: Registry;
  close(): void;
};

const noMqtt: OpenMqtt = () => ({ data: () => {}, closed: () => {} });

/** A worker's device port with the small intake behind it. */
export async function openDevicePort(openMqtt: OpenMqtt = noMqtt, port = 0): Promise<DevicePort> {
  const { port1, port2 } = new MessageChannel();
  const claims = new ClaimRegistry(() => false);
  claims.addWorker(port1);
  const intake = new SmallIntake();
  const registry = new Registry();
  const app = await startDeviceApp({
    host: "127.0.0.1",
    port,
    intake,
    admission: new Admission(1),
    claims: new ClaimsPort(port2),
    openMqtt,
    allowOrigin: ["https://fleet.example"],
    registry,
  });
  const close = (): void => {
    app.close();
    port1.close();
  };
  return { app, port: app.port, intake, registry, close };
}

export function metric(registry: Registry, name: string, labels: Record<string, string>): number {
  const found = registry
    .snapshot()
    .find((m) => m.name === name && JSON.stringify(m.labels) === JSON.stringify(labels));
  return found !== undefined && "value" in found ? found.value : 0;
}

/** Bytes sent as they are; what came back and whether the gateway has closed. */
export class RawConnection {
  readonly socket: net.Socket;
  received = Buffer.alloc(0);
  isClosed = false;
  #wake: (() => void)[] = [];

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.#notify();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.isClosed = true;
      this.#notify();
    });
  }

  static async open(port: number): Promise<RawConnection> {
    const socket = net.connect(port, "127.0.0.1");
    await once(socket, "connect");
    return new RawConnection(socket);
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    return this;
  }

  /** Resolves when `isEnough`, or when the connection is closed. */
  async until(isEnough: (text: string) => boolean): Promise<string> {
    while (!this.isClosed && !isEnough(this.text)) {
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
    return this.text;
  }

  closed(): Promise<string> {
    return this.until(() => false);
  }

  get text(): string {
    return this.received.toString("latin1");
  }

  /** What is received so far is forgotten. */
  clear(): void {
    this.received = Buffer.alloc(0);
  }

  destroy(): void {
    this.socket.destroy();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}

const handshakeKey = "dGhlIHNhbXBsZSBub25jZQ==";

export function upgradeRequest(path: string, extra = ""): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${handshakeKey}\r\nSec-WebSocket-Version: 13\r\n${extra}\r\n`
  );
}

export async function rawWebSocket(port: number, path = "/v1/ingest"): Promise<RawConnection> {
  const connection = await RawConnection.open(port);
  connection.send(upgradeRequest(path));
  await connection.until((text) => text.includes("\r\n\r\n"));
  connection.clear();
  return connection;
}

/** A client's frame: first byte (FIN, RSV, opcode); a mask of zeros keeps `payload` legible. */
export function clientFrame(first: number, payload: string | Uint8Array): Buffer {
  const body = Buffer.from(payload as string);
  let length = Buffer.from([0x80 | body.length]);
  if (body.length > 65_535) {
    length = Buffer.alloc(9);
    length[0] = 0x80 | 127;
    length.writeBigUInt64BE(BigInt(body.length), 1);
  } else if (body.length > 125) {
    length = Buffer.from([0x80 | 126, body.length >> 8, body.length & 0xff]);
  }
  return Buffer.concat([Buffer.from([first]), length, Buffer.alloc(4), body]);
}
