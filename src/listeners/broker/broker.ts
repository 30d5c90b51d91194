/**
 * The broker of a node, in the main thread: one aedes for the connections of all workers. It does
 * what the workers' lanes do not: sessions, subscriptions, wills, retained messages, everything
 * on topics that are not ingest, and the delivery of commands. Its state is in topic `__mqtt`.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Duplex } from "node:stream";
import type { MessagePort } from "node:worker_threads";
import type { Aedes } from "aedes";
import { isDriverId } from "../../codec/rewrite.ts";
import { atMost } from "../../lib/at-most.ts";
import type { Registry } from "../../metrics/registry.ts";
import type { LogClient } from "../../log/types.ts";
import { MilepostError } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import type { ClusterLog } from "../../uplink/cluster-log.ts";
import { classifyTopic } from "../mqtt/topics.ts";
import { mendDelivery, publish, startAedes, type AedesClient } from "./aedes.ts";
import { CommandDelivery, COMMANDS } from "./commands.ts";
import { Emitter } from "./emitter.ts";
import { eachRecord, Journal } from "./journal.ts";
import { brokerMetrics, type BrokerMetrics } from "./metrics.ts";
import { Persistence } from "./persistence.ts";
import { Pipe, type PipeEvents } from "./pipe.ts";
import { eachFrame, FLAG, kinds, Outbox } from "./protocol.ts";
import { filterGranted, publishRefusal } from "./topics.ts";
import type { Will } from "./wills.ts";

export const MQTT_STATE = "__mqtt";

export type BrokerOptions = {
  log: LogClient;
  /** Brokers of the cluster that commands come from; none: they come from `log`. */
  uplink?: string[] | null;
  /** ms */
  now: () => number;
  registry: Registry;
  /** A line for an operator. */
  report: (line: string) => void;
  /** A will on an ingest topic is due: to be taken as if the client had published it. */
  ingestWill: (topic: string, payload: Uint8Array, clientId: string) => void;
};

/** Kafka's client takes a second of processor time to load: who has no uplink is spared that. */
async function clusterOf({ uplink = null, report }: BrokerOptions): Promise<ClusterLog | null> {
  if (uplink === null) return null;
  const { ClusterLog } = await import("../../uplink/cluster-log.ts");
  return new ClusterLog(uplink, COMMANDS, report);
}

type ConnectPacket = { clientId: string; keepalive: number; will?: Will };
type PublishPacket = { topic: string; qos: number; retain: boolean; messageId?: number };
type Done = (error?: Error | null) => void;

const EXPIRE_EVERY_MS = 60_000;

export class Broker {
  readonly #options: BrokerOptions;
  readonly #journal: Journal;
  readonly #persistence: Persistence;
  readonly #emitter = new Emitter();
  readonly #commands: CommandDelivery;
  readonly #cluster: ClusterLog | null;
  readonly #pipes = new Set<Pipe>();
  readonly #ports: MessagePort[] = [];
  readonly #expiry: NodeJS.Timeout;
  readonly #metrics: BrokerMetrics;
  #aedes!: Aedes;
  /** Wills left by a crash that a worker must take, until there is one. */
  #ingestWills: [clientId: string, will: Will][] = [];

  private constructor(options: BrokerOptions, cluster: ClusterLog | null) {
    this.#options = options;
    this.#cluster = cluster;
    const { log, now, registry, report } = options;
    const metrics = brokerMetrics(registry);
    this.#metrics = metrics;
    this.#journal = new Journal(log, MQTT_STATE, metrics.journaled, report);
    this.#persistence = new Persistence(this.#journal, metrics, now);
    registry.onSnapshot(() => this.#measure());
    const target = {
      hasSubscriber: (topic: string) =>
        this.#emitter.hasListener(topic) || this.#persistence.hasSubscriber(topic),
      publish: (topic: string, payload: Uint8Array, messageExpiry: number) =>
        publish(this.#aedes, { topic, payload, qos: 1, retain: false, messageExpiry }),
    };
    this.#commands = new CommandDelivery(
      cluster ?? log,
      this.#journal,
      target,
      metrics,
      now,
      report,
    );
    this.#expiry = setInterval(() => this.#persistence.expire(), EXPIRE_EVERY_MS).unref();
  }

  /** Reads the state back, publishes the wills a crash has left, and begins to deliver. */
  static async open(options: BrokerOptions): Promise<Broker> {
    const broker = new Broker(options, await clusterOf(options));
    await broker.#open();
    return broker;
  }

  async #open(): Promise<void> {
    await eachRecord(this.#options.log, MQTT_STATE, (key, value) => {
      if (key.startsWith(`o/${COMMANDS}/`)) this.#commands.restore(key, value);
      else this.#persistence.restore(key, value);
    });
    this.#persistence.restored();
    this.#aedes = await startAedes(this.#persistence, this.#emitter, {
      preConnect: this.#preConnect,
      authenticate: this.#authenticate,
      authorizePublish: this.#authorizePublish,
      authorizeSubscribe: this.#authorizeSubscribe,
      published: this.#published,
    });
    this.#aedes.on(
      "error" as "closed",
      ((e: unknown) => this.#options.report(`mqtt: ${String(e)}`)) as never,
    );
    this.#aedes.on("clientReady", (client) => pipeOf(client)?.ready());
    this.#aedes.on("unsubscribe", (filters, client) => {
      for (const filter of filters) pipeOf(client)?.filters.delete(filter);
    });
    // before any device is back: its retained status would be overwritten
    for (const [clientId, will] of this.#persistence.takeWills()) {
      if (isIngest(will.topic)) this.#ingestWills.push([clientId, will]);
      else if (publishRefusal(will.topic) === null) await publish(this.#aedes, will);
    }
    this.#commands.start();
  }

  /** `port` is the other end of a worker's BrokerLink. */
  attachWorker(port: MessagePort): void {
    const outbox = new Outbox(port);
    const pipes = new Map<number, Pipe>();
    this.#ports.push(port);
    port.on("message", (message: Uint8Array) => {
      eachFrame(message, (kind, id, flags, body) => {
        if (kind === kinds.attach) this.#attach(pipes, outbox, id, flags, body);
        const pipe = pipes.get(id);
        if (pipe === undefined) return;
        if (kind === kinds.data) pipe.accept(body);
        else if (kind === kinds.drained) pipe.drained(body.readUInt32LE(0));
        else if (kind === kinds.detach) pipe.detach((flags & FLAG) !== 0);
      });
    });
    port.on("close", () => {
      for (const pipe of pipes.values()) pipe.destroy();
    });
    // the caller is still starting the worker
    setImmediate(() => {
      for (const [clientId, will] of this.#ingestWills.splice(0)) {
        this.#options.ingestWill(will.topic, will.payload, clientId);
      }
    });
  }

  #attach(pipes: Map<number, Pipe>, outbox: Outbox, id: number, flags: number, body: Buffer): void {
    const end = 2 + body.readUInt16LE(0);
    const events: PipeEvents = {
      closed: (pipe) => {
        pipes.delete(id);
        this.#pipes.delete(pipe);
      },
      refused: (_pipe, reason) => void this.#metrics.closed(reason).value++,
      dropped: () => void this.#metrics.droppedQos0.value++,
    };
    const remote = body.toString("utf8", 2, end);
    const pipe = new Pipe(id, remote, (flags & FLAG) !== 0, outbox, events);
    pipes.set(id, pipe);
    this.#pipes.add(pipe);
    const client = this.#aedes.handle(pipe as Duplex) as unknown as AedesClient;
    pipe.onReady = mendDelivery(client, this.#persistence, pipe);
    pipe.start(body.subarray(end));
  }

  hasSession(clientId: string): boolean {
    return this.#persistence.hasSession(clientId);
  }

  /** Appends a command; resolves at the durability of `commands`. Rejects with a MilepostError. */
  async command(driver: string, bytes: Uint8Array): Promise<{ partition: number; offset: number }> {
    if (!isDriverId(driver)) throw new MilepostError("bad_id");
    if (bytes.length > limits.commandBytesMax) throw new MilepostError("too_large");
    const key = Buffer.from(driver);
    const appended = this.#options.log.append(COMMANDS, [{ key, value: bytes }]);
    const places = await atMost(limits.ackMsMax, appended);
    if (places === undefined) throw new MilepostError("timeout");
    return places[0];
  }

  #measure(): void {
    const { sessions, queued, queuedBytes, retained } = this.#persistence.sizes;
    this.#metrics.clients.value = this.#pipes.size;
    this.#metrics.sessions.value = sessions;
    this.#metrics.queued.value = queued;
    this.#metrics.queuedBytes.value = queuedBytes;
    this.#metrics.retained.value = retained;
  }

  /** Closes all connections (their wills are published) and writes what waits. */
  async close(): Promise<void> {
    this.#commands.stop();
    void this.#cluster?.close();
    clearInterval(this.#expiry);
    for (const pipe of this.#pipes) pipe.destroy();
    await nextTurn(); // the wills are on their way
    await this.#journal.flushed().catch(() => {});
    await nextTurn();
    await new Promise<void>((resolve) => this.#aedes.close(resolve));
    await this.#journal.close();
    for (const port of this.#ports) port.close();
  }

  // --- what aedes asks ---

  readonly #preConnect = (
    client: AedesClient,
    packet: ConnectPacket,
    done: (error: Error | null, go: boolean) => void,
  ): void => {
    packet.keepalive = 0; // the worker closes silent sockets, it knows when reading was paused
    const pipe = pipeOf(client);
    if (pipe !== undefined) pipe.refusal = connectRefusal(packet);
    done(null, true);
  };

  readonly #authenticate = (
    client: AedesClient,
    _user: unknown,
    _password: unknown,
    done: (error: Error | null, success: boolean) => void,
  ): void => {
    const pipe = pipeOf(client);
    if (pipe === undefined || pipe.refusal !== 0) {
      this.#metrics.refusedConnect.value++;
      const error = Object.assign(new Error("refused"), { returnCode: pipe?.refusal ?? 5 });
      return done(error, false);
    }
    const { present, connection } = this.#persistence.begin(client.id, client.clean);
    pipe.sessionPresent = present;
    pipe.connection = connection;
    done(null, true);
  };

  readonly #authorizePublish = (
    client: AedesClient | null,
    packet: PublishPacket & { payload: Buffer },
    done: Done,
  ): void => {
    if (isIngest(packet.topic)) {
      // the lane takes what clients publish there, so this is a will
      if (client !== null && client.will === (packet as unknown)) {
        this.#options.ingestWill(packet.topic, packet.payload, client.id);
      }
      return done(new Error("ingest topic"));
    }
    const refusal = publishRefusal(packet.topic);
    done(refusal === null ? null : new Error(refusal));
  };

  readonly #authorizeSubscribe = (
    client: AedesClient,
    sub: { topic: string; qos: number },
    done: (error: Error | null, sub?: { topic: string } | null) => void,
  ): void => {
    const pipe = pipeOf(client);
    if (pipe !== undefined && this.#grants(pipe, sub.topic)) {
      pipe.filters.add(sub.topic);
      return done(null, sub);
    }
    this.#metrics.refusedFilter.value++;
    this.#persistence.refused.add(sub);
    done(null, null);
  };

  #grants(pipe: Pipe, filter: string): boolean {
    // before it is ready its old subscriptions are restored
    if (pipe.isReady && ++pipe.filtersInPacket > limits.subscribeFiltersMax) return false;
    const isMore = !pipe.filters.has(filter);
    if (isMore && pipe.filters.size >= limits.sessionFiltersMax) return false;
    return filterGranted(filter);
  }

  /** The message is given out; before it is acknowledged it must be in the log too. */
  readonly #published = (packet: PublishPacket, client: AedesClient | null, done: Done): void => {
    this.#metrics.published.value++;
    const pipe = client === null ? undefined : pipeOf(client);
    const stored = packet.qos > 0 ? this.#persistence.stored(packet) : null;
    if (stored === null) pipe?.release(packet.messageId);
    else if (packet.qos === 1) {
      stored.then(
        () => pipe?.release(packet.messageId),
        () => pipe?.unstorable(),
      );
    } else return this.#storedTwice(stored, packet, client, done);
    setImmediate(done); // the next packet of this client in the next turn: others come between
  };

  /** aedes sends the PUBREC when `done` is called, and remembers the packet id by now. */
  #storedTwice(
    stored: Promise<void>,
    packet: PublishPacket,
    client: AedesClient | null,
    done: Done,
  ): void {
    const forget = client && (() => this.#persistence.incomingDelPacket(client, packet));
    stored.then(
      () => done(),
      (error: Error) => forget?.().finally(() => done(error)),
    );
  }
}

function pipeOf(client: { conn: unknown }): Pipe | undefined {
  return client.conn instanceof Pipe ? client.conn : undefined;
}

function isIngest(topic: string): boolean {
  return classifyTopic(topic).way !== "broker";
}

/** A CONNACK code, or 0. */
function connectRefusal({ clientId, will }: ConnectPacket): number {
  // oxlint-disable-next-line no-control-regex -- these are what is refused
  const isBadId = /[\u0000-\u001f\u007f-\u009f\ufffd]/.test(clientId);
  if (isBadId || Buffer.byteLength(clientId) > limits.clientIdBytesMax) return 2;
  // "not authorized": of 3.1.1's five codes the one that is about what the client asks for, and
  // that clients show as such; 1 to 4 speak of version, id, availability and password
  if (will !== undefined && publishRefusal(will.topic) !== null) return 5;
  return 0;
}
