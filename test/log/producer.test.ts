/** What a worker hands over, and what becomes of it while the log does not answer. */
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { verifyBatch } from "../../src/batch/header.ts";
import { WorkerIntake } from "../../src/listeners/intake.ts";
import { routesOf } from "../../src/listeners/routes.ts";
import { LogProducer } from "../../src/log/producer.ts";
import { Slab } from "../../src/log/slab.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { limits } from "../../src/model/limits.ts";

const ports: MessagePort[] = [];
afterEach(() => {
  for (const port of ports.splice(0)) port.close();
});

/** A producer with a log that takes slabs and does not answer. */
function open(): { producer: LogProducer; posted(count: number): Promise<Slab[]> } {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1);
  const slabs: Slab[] = [];
  const posted: Slab[] = [];
  port1.on("message", (m: SharedArrayBuffer | number) => {
    if (typeof m === "number") posted.push(slabs[m]);
    else slabs.push(new Slab(m));
  });
  const nothing = (): void => {};
  const events = { onPause: nothing, onResume: nothing, onSettled: nothing };
  const producer = new LogProducer(port2, events);
  return {
    producer,
    posted: async (count) => {
      while (posted.length < count) await turn();
      return posted;
    },
  };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a send that was never handed over is refused in its time, like the others", async () => {
  const { producer } = open();
  const refused: [number, string | null][] = [];
  const waiter = {
    settle: (tag: number, _: unknown, __: number, refusal: string | null): void => {
      refused.push([tag, refusal]);
    },
  };
  const value = Buffer.from("x");
  const tags = Array.from({ length: limits.slabsInFlightMax + 2 }, (_, i) => i);
  for (const tag of tags) {
    producer.take(1, 1);
    const first = producer.nextRef;
    producer.append(0, 0, null, 0, 0, value, 0, 1, Date.now(), null);
    producer.wait(waiter, tag, first);
    await turn();
  }
  producer.tick(Date.now() + limits.ackMsMax / 2);
  expect(refused).toEqual([]);
  producer.tick(Date.now() + limits.ackMsMax);
  expect(refused).toEqual(tags.map((tag) => [tag, "timeout"]));
});

/** Stored as twice its bytes: 1e15 is written as 1000000000000000. */
function growing(fields: number): string {
  let text = `{"id":"d","ts":${Date.now()},"lat":1,"lon":2`;
  for (let i = 0; i < fields; i++) text += `,"a${i}":1e15`;
  return `${text}}`;
}

test.each([1, 100, 200, 300])("pings that grow never overflow their slab: %i", async (fields) => {
  const { producer, posted } = open();
  const intake = new WorkerIntake(producer, new Registry());
  const topic = { id: "", partitions: 1 };
  intake.routes = routesOf([
    { ...topic, name: "positions", index: 0, config: { "milepost.from": "position" } },
    { ...topic, name: "rejects", index: 1, config: {} },
  ]);
  const source = {
    transport: "ws",
    dialect: "native",
    driver: null,
    identity: null,
    memory: null,
  } as const;
  const take = (body: string): void => {
    intake.frame(Buffer.from(body), source, false, () => {});
  };
  take(growing(fields));
  for (let i = 0; i < 12; i++) take(`[${Array.from({ length: 60 }, () => growing(340)).join()}]`);
  for (const slab of await posted(limits.slabsInFlightMax)) {
    expect(slab.batches).toBeGreaterThan(0);
    for (let i = 0; i < slab.batches; i++) expect(verifyBatch(slab.bytesOf(i).slice())).toBe(true);
  }
});
