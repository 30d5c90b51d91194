import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { MqttIo } from "../../src/listeners/websocket-mqtt.ts";
import { openDevicePort, type DevicePort } from "./device-port.ts";

type Lane = { io: MqttIo; received: Buffer[]; isClosed: boolean };

let gateway: DevicePort;
let lanes: Lane[];
beforeEach(async () => {
  lanes = [];
  gateway = await openDevicePort((io) => {
    const lane: Lane = { io, received: [], isClosed: false };
    lanes.push(lane);
    return {
      data: (bytes) => lane.received.push(Buffer.from(bytes)),
      closed: () => (lane.isClosed = true),
    };
  });
});
afterEach(() => gateway.close());

async function connect(protocols: string[] = ["mqtt"]): Promise<WebSocket> {
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/mqtt`, protocols);
  ws.on("error", () => {});
  await once(ws, "open");
  return ws;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

describe("/mqtt", () => {
  it("hands binary frames to the lane and its bytes back as binary frames", async () => {
    const ws = await connect();
    expect(ws.protocol).toBe("mqtt");
    ws.send(Buffer.from([0x10, 0x0c]));
    ws.send(Buffer.from([0xc0, 0x00, 0xc0, 0x00]));
    await until(() => lanes[0]?.received.length === 2);
    expect(Buffer.concat(lanes[0].received)).toEqual(Buffer.from([0x10, 0x0c, 0xc0, 0, 0xc0, 0]));
    const backing = Buffer.from([9, 0x20, 2, 0, 0, 9]);
    lanes[0].io.write(backing.subarray(1, 5));
    const [bytes, isBinary] = await once(ws, "message");
    expect([bytes, isBinary]).toEqual([Buffer.from([0x20, 2, 0, 0]), true]);
    expect(lanes[0].io.buffered()).toBe(0);
    ws.close();
    await until(() => lanes[0].isClosed);
    lanes[0].io.write(backing);
    lanes[0].io.close();
    expect(lanes[0].io.buffered()).toBe(0);
  });

  it("closes on a text frame [MQTT-6.0.0-1]", async () => {
    const ws = await connect();
    ws.send("text");
    const [code] = await once(ws, "close");
    expect(code).toBe(1003);
    expect(lanes[0]).toMatchObject({ received: [], isClosed: true });
  });

  it("closes when the lane says so, once", async () => {
    const ws = await connect();
    await until(() => lanes.length === 1);
    lanes[0].io.close();
    expect(lanes[0].isClosed).toBe(false);
    lanes[0].io.close();
    await once(ws, "close");
    expect(lanes[0].isClosed).toBe(true);
  });

  it("finds mqtt among the subprotocols, and insists on it [MQTT-6.0.0-3]", async () => {
    const ws = await connect(["mqttv3.1", "mqtt"]);
    expect(ws.protocol).toBe("mqtt");
    ws.terminate();
    for (const protocols of [[], ["mqttv3.1"], ["xmqtt"]]) {
      const refused = new WebSocket(`ws://127.0.0.1:${gateway.port}/mqtt`, protocols);
      refused.on("error", () => {});
      const [, response] = await once(refused, "unexpected-response");
      expect(response.statusCode).toBe(400);
      refused.terminate();
    }
  });
});
