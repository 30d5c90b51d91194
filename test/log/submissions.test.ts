/**
 * Who waits gets their own answer: frames of any size, from many at once, straddling submissions.
 * Every (partition, offset) of an answer is held against the log.
 */
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { dump, startGateway } from "../harness/gateway.ts";
import { ping, connect, publish, Raw } from "../listeners/mqtt/bytes.ts";

type Ack = {
  ack: number;
  accepted: number;
  rejected: { i: number }[];
  p: ([number, number] | null)[];
};

/** Sends all frames at once; resolves with their answers in order. */
function exchange(port: number, frames: string[]): Promise<Ack[]> {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/v1/ingest`);
  const acks: Ack[] = [];
  return new Promise((resolve, reject) => {
    ws.on("open", () => frames.forEach((f) => ws.send(f)));
    ws.on("message", (m) => {
      // a gateway that is told to stop says so on a socket whose close it has not read yet
      if (acks.length === frames.length) return;
      acks.push(JSON.parse(String(m)) as Ack);
      if (acks.length === frames.length) {
        ws.close();
        resolve(acks);
      }
    });
    ws.on("close", (code) => reject(new Error(`closed with ${code}`)));
  });
}

test("each ping is where its answer says, and nowhere else", async () => {
  const gateway = await startGateway({ args: ["--regions"], dataDir: undefined });
  const sizes = [1, 2000, 3, 700, 0, 1500, 40, 999, 2000, 1];
  const sent = Array.from({ length: 6 }, (_, s) =>
    sizes.map((size, f) =>
      Array.from({ length: size }, (_, i) =>
        // every seventh is no position
        ping(`s${s}-${f}-${i}`, i % 7 === 3 ? { lat: 99 } : {}),
      ),
    ),
  );
  // MQTT beside it, in the same submissions
  const device = await Raw.open(gateway.ports.mqtt);
  device.send(connect());
  await device.take(4);
  const puback = Array.from({ length: 3000 }, (_, i) => i + 1);
  device.send(...puback.map((i) => publish(`fleet/m/position`, ping("m"), 1, i)));
  const answers = await Promise.all(
    sent.map((frames) =>
      exchange(
        gateway.ports.device,
        frames.map((pings) => `[${pings.join(",")}]`),
      ),
    ),
  );
  const acks = puback.map((i) => `4002${i.toString(16).padStart(4, "0")}`).join("");
  expect(await device.take(12_000)).toBe(acks);
  device.end();
  await gateway.end("SIGTERM");

  const stored = new Map<string, string | null>();
  for (const r of await dump(gateway.dataDir, "positions")) {
    stored.set(`${r.partition}/${r.offset}`, r.value);
  }
  let pings = 0;
  answers.forEach((acksOfSocket, s) =>
    acksOfSocket.forEach((ack, f) => {
      const frame = sent[s][f];
      const bad = frame.flatMap((_, i) => (i % 7 === 3 ? [i] : []));
      expect(ack.ack).toBe(f + 1);
      expect(ack.rejected.map((r) => r.i)).toEqual(bad);
      expect(ack.accepted).toBe(frame.length - bad.length);
      expect(ack.p).toHaveLength(frame.length);
      ack.p.forEach((place, i) => {
        if (i % 7 === 3) return expect(place).toBeNull();
        pings++;
        expect(stored.get((place as number[]).join("/"))).toBe(frame[i]);
      });
    }),
  );
  expect(stored.size).toBe(pings + 3000);
  expect(await dump(gateway.dataDir, "positions-by-cell")).toHaveLength(pings + 3000);
  await gateway.stop();
}, 60_000);
