/**
 * Apache Kafka of the test's own: one node or three, each broker and controller (KRaft), on free
 * ports of loopback. For `*.kafka.test.ts`, behind `describe.skipIf(missing("kafka"))`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Admin } from "@platformatic/kafka";
import { javaWords } from "./kafka-jars.ts";

/** Small, and quick to start rather than fast. */
const jvm = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];
const clusterId = "MkU3OEVBNTcwNTJENDM2Qk";
const startMsMax = 90_000;

const running = new Set<KafkaCluster>();
process.on("exit", () => {
  for (const cluster of running) cluster.discard();
});

type Node = { port: number; controllerPort: number; child: ChildProcess | null; said: string };

export class KafkaCluster {
  readonly #dir = mkdtempSync(join(tmpdir(), "milepost-kafka-"));
  readonly #settings: string[];
  /** By id, from 1. */
  readonly #nodes = new Map<number, Node>();

  private constructor(settings: string[]) {
    this.#settings = settings;
  }

  /** `settings` are lines of `server.properties`, for each node. */
  static async start(nodes: 1 | 3 = 1, settings: string[] = []): Promise<KafkaCluster> {
    const cluster = new KafkaCluster(settings);
    running.add(cluster);
    const ports = await freePorts(2 * nodes);
    for (let id = 1; id <= nodes; id++) {
      const [port, controllerPort] = ports.slice(2 * id - 2);
      cluster.#nodes.set(id, { port, controllerPort, child: null, said: "" });
    }
    try {
      await cluster.startNodes();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  get bootstrap(): string {
    return [...this.#nodes.values()].map(({ port }) => `127.0.0.1:${port}`).join(",");
  }

  /** Of the nodes that run. */
  get pids(): number[] {
    return [...this.#nodes.values()].flatMap(({ child }) => child?.pid ?? []);
  }

  /** Of the client library. */
  get brokers(): { host: string; port: number }[] {
    return [...this.#nodes.values()].map(({ port }) => ({ host: "127.0.0.1", port }));
  }

  /** Those that do not run, with the data they had; resolves when all are in the cluster. */
  async startNodes(): Promise<void> {
    for (const [id, node] of this.#nodes) if (node.child === null) this.#spawn(id, node);
    await this.#ready();
  }

  /** SIGTERM: leaders are handed over where there is somebody. */
  async stopNode(id: number): Promise<void> {
    await this.#end(id, "SIGTERM");
  }

  async killNode(id: number): Promise<void> {
    await this.#end(id, "SIGKILL");
  }

  /** All of them, and their data. */
  async stop(): Promise<void> {
    await Promise.all([...this.#nodes.keys()].map((id) => this.killNode(id)));
    this.discard();
  }

  discard(): void {
    running.delete(this);
    for (const { child } of this.#nodes.values()) child?.kill("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true });
  }

  admin<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    return withAdmin(this.brokers, work);
  }

  #spawn(id: number, node: Node): void {
    const folder = join(this.#dir, `${id}`);
    const logs = join(folder, "logs");
    mkdirSync(logs, { recursive: true });
    // what `kafka-storage format` would write, without one more Java machine's start
    const meta = join(logs, "meta.properties");
    if (!existsSync(meta)) {
      writeFileSync(meta, `version=1\ncluster.id=${clusterId}\nnode.id=${id}\n`);
    }
    const properties = join(folder, "server.properties");
    writeFileSync(properties, `${this.#properties(id, node, logs).join("\n")}\n`);
    const words = javaWords("kafka.Kafka", [properties], jvm);
    const child = spawn("java", words, { stdio: ["ignore", "ignore", "pipe"] });
    node.child = child;
    node.said = "";
    child.stderr.on("data", (bytes) => (node.said += String(bytes)));
    child.once("exit", () => (node.child = null));
  }

  #properties(id: number, { port, controllerPort }: Node, logs: string): string[] {
    const count = this.#nodes.size;
    const voters = [...this.#nodes].map(([n, node]) => `${n}@127.0.0.1:${node.controllerPort}`);
    return [
      "process.roles=broker,controller",
      `node.id=${id}`,
      `controller.quorum.voters=${voters.join(",")}`,
      `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
      "controller.listener.names=CONTROLLER",
      "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
      `log.dirs=${logs}`,
      `default.replication.factor=${count}`,
      `min.insync.replicas=${count === 1 ? 1 : 2}`,
      `offsets.topic.replication.factor=${count}`,
      "offsets.topic.num.partitions=4",
      `transaction.state.log.replication.factor=${count}`,
      "transaction.state.log.min.isr=1",
      "transaction.state.log.num.partitions=4",
      "group.initial.rebalance.delay.ms=0",
      "num.network.threads=2",
      "num.io.threads=2",
      // a node that was killed is missed sooner than by default
      "broker.heartbeat.interval.ms=500",
      "broker.session.timeout.ms=3000",
      ...this.#settings,
    ];
  }

  async #end(id: number, signal: NodeJS.Signals): Promise<void> {
    const child = this.#nodes.get(id)?.child;
    if (child === undefined || child === null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  #said(): string {
    return [...this.#nodes].map(([id, { said }]) => `node ${id}: ${said.slice(-2000)}`).join("\n");
  }

  /** Each node answers, and knows of all the others. */
  async #ready(): Promise<void> {
    const until = Date.now() + startMsMax;
    for (;;) {
      const dead = [...this.#nodes.values()].find(({ child }) => child === null);
      if (dead !== undefined) throw new Error(`kafka ended: ${dead.said}`);
      try {
        const seen = this.brokers.map((broker) =>
          withAdmin([broker], async (admin) => (await admin.metadata({ topics: [] })).brokers.size),
        );
        if ((await Promise.all(seen)).every((size) => size === this.#nodes.size)) return;
      } catch (error) {
        if (Date.now() > until) throw new Error(`kafka: ${this.#said()}`, { cause: error });
      }
      if (Date.now() > until) throw new Error(`kafka: nodes are missing: ${this.#said()}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function withAdmin<T>(
  bootstrapBrokers: { host: string; port: number }[],
  work: (admin: Admin) => Promise<T>,
): Promise<T> {
  const admin = new Admin({ clientId: "test", bootstrapBrokers, retries: 0 });
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers: Server[] = [];
  for (let i = 0; i < count; i++) {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
