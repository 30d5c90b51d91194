/** A Kafka port within the test's process: its clock, its lines, and APIs of the test's own. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import type { Handler } from "../../src/kafka/handler.ts";
import { apiVersionsHandler } from "../../src/kafka/handlers/18-api-versions.ts";
import { KafkaServer, type KafkaServerOptions } from "../../src/kafka/server.ts";
import type { Services } from "../../src/kafka/services.ts";
import { BufferPool } from "../../src/lib/buffer-pool.ts";
import { Registry } from "../../src/metrics/registry.ts";

import { WireClient } from "./wire-client.ts";

export class TestPort {
  readonly server: KafkaServer;
  readonly registry: Registry;
  readonly lines: string[];
  readonly clock: { now: number };

  constructor(server: KafkaServer, registry: Registry, lines: string[], clock: { now: number }) {
    this.server = server;
    this.registry = registry;
    this.lines = lines;
    this.clock = clock;
  }

  /** Lets time go by. */
  pass(ms: number): void {
    this.clock.now += ms;
    this.server.tick(this.clock.now);
  }

  async client(): Promise<WireClient> {
    const client = await WireClient.open(this.server.port);
    onTestFinished(() => client.close());
    return client;
  }

  /** A bare socket that is not read. */
  async frozen(): Promise<Socket> {
    const socket = connect(this.server.port, "127.0.0.1");
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    await once(socket, "connect");
    return socket;
  }

  metric(name: string, labels: Record<string, string> = {}): number {
    let sum = 0;
    for (const m of this.registry.snapshot()) {
      const same = Object.entries(labels).every(([k, v]) => m.labels[k] === v);
      if (m.name === name && same && "value" in m) sum += m.value;
    }
    return sum;
  }
}

export async function openPort(
  apis: Handler[],
  options: Partial<KafkaServerOptions> = {},
): Promise<TestPort> {
  const registry = new Registry();
  const lines: string[] = [];
  const clock = { now: 1_000_000 };
  // what else services hold, these APIs do not ask for
  const services = {
    registry,
    buffers: new BufferPool(0),
    report: (line: string) => lines.push(line),
    now: () => clock.now,
  } as unknown as Services;
  const list = [...apis, apiVersionsHandler(apis)];
  const handlers = new Map(list.map((handler) => [handler.api.key, handler]));
  const server = await KafkaServer.listen(services, handlers, {
    host: "127.0.0.1",
    port: 0,
    advertise: null,
    connectionsMax: 1000,
    ...options,
  });
  onTestFinished(() => server.close());
  return new TestPort(server, registry, lines, clock);
}

/** Waits until `condition` holds; the test's own time-out is the bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A gate for each request, by its text. */
export class Gates {
  readonly begun: string[] = [];
  readonly #open = new Map<string, () => void>();

  wait(text: string): Promise<void> {
    this.begun.push(text);
    return new Promise((resolve) => this.#open.set(text, resolve));
  }

  /** Lets a request that has begun be answered. */
  async open(text: string): Promise<void> {
    await until(() => this.#open.has(text));
    this.#open.get(text)?.();
  }
}
