import { once } from "node:events";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { openDevicePort, type DevicePort } from "./device-port.ts";

let gateway: DevicePort;
beforeAll(async () => {
  gateway = await openDevicePort();
  gateway.intake.holding = true;
});
afterAll(() => gateway.close());

/** What a device does, and what the log does meanwhile. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.array(fc.boolean(), { maxLength: 5 }).map((pings) => ({ pings })) },
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 4 }).map((answers) => ({ answers })) },
);

it("answers each frame once, in order, item by item, however the answers come in", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.boolean(), async (steps, refuse) => {
      const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/v1/ingest`);
      const replies: { ack?: number; nack?: number; rejected: { i: number }[]; p: unknown[] }[] =
        [];
      ws.on("message", (data) => replies.push(JSON.parse(String(data))));
      const closed = once(ws, "close");
      await once(ws, "open");
      const frames: boolean[][] = [];
      const taken = gateway.intake.taken.length;
      const allTaken = async (): Promise<void> => {
        while (gateway.intake.taken.length < taken + frames.length) {
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      for (const next of steps) {
        if ("pings" in next) {
          frames.push(next.pings);
          ws.send(JSON.stringify(next.pings.map((isGood) => (isGood ? { lat: 1 } : {}))));
        } else {
          await allTaken();
          gateway.intake.letGo(next.answers);
        }
      }
      await allTaken();
      const refused = refuse && gateway.intake.waiting > 0;
      if (refused) gateway.intake.letGo(1, "timeout");
      else gateway.intake.letGo(gateway.intake.waiting);
      if (refused) await closed;
      while (!refused && replies.length < frames.length) await once(ws, "message");
      gateway.intake.letGo(gateway.intake.waiting);

      const acks = refused ? replies.slice(0, -1) : replies;
      if (refused)
        expect(replies.at(-1)).toMatchObject({ nack: replies.length, reason: "timeout" });
      expect(acks.map((reply) => reply.ack)).toEqual(acks.map((_, i) => i + 1));
      for (const [n, { rejected, p }] of acks.entries()) {
        expect(p.map((place) => place !== null)).toEqual(frames[n]);
        expect(rejected.map(({ i }) => i)).toEqual(frames[n].flatMap((ok, i) => (ok ? [] : [i])));
      }
      ws.close();
      await closed;
    }),
    { numRuns: 60 },
  );
});
