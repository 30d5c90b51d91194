/** The parts of aedes 1.2 the broker relies on, and one aedes as Milepost needs it. */
import { Aedes, type Client } from "aedes";
import { limits } from "../../model/limits.ts";
import type { Delivered, Emitter } from "./emitter.ts";
import type { Persistence } from "./persistence.ts";
import { matches } from "./topics.ts";

type Deliver = (packet: Delivered, done: () => void) => void;

/** What the published types leave out. */
export type AedesClient = Omit<Client, "conn"> & {
  conn: unknown;
  will: { topic: string; payload: Buffer } | null;
  /** An object without prototype: filters come from the wire. */
  subscriptions: Record<string, { qos: number }>;
  deliver0: Deliver;
  deliverQoS: Deliver;
};

export type Outgoing = {
  topic: string;
  payload: Uint8Array;
  qos: number;
  retain: boolean;
  messageExpiry?: number;
};
type Publish = (packet: Outgoing, client: unknown, done?: (error?: Error | null) => void) => void;

/** A quarter of the longest timer: aedes sets one of four times as much. */
const NEVER_MS = 2 ** 29 - 1;

// oxlint-disable-next-line no-explicit-any -- the handlers' types are narrower than what is passed
type Handlers = Record<string, any>;

export async function startAedes(
  persistence: Persistence,
  emitter: Emitter,
  handlers: Handlers,
): Promise<Aedes> {
  const aedes = new Aedes({
    ...handlers,
    persistence,
    mq: emitter,
    connectTimeout: limits.connectMsMax,
    heartbeatInterval: NEVER_MS, // one broker: nobody listens for it
    maxInflightInbound: limits.qos2InflightMax,
    maxTopicLevels: limits.topicLevelsMax,
    maxClientsIdLength: limits.clientIdBytesMax,
  });
  // aedes tells `$SYS/…` of each connection and subscription; nobody may subscribe to it
  const loose = aedes as unknown as { publish: Publish };
  const publish = loose.publish.bind(aedes);
  loose.publish = (packet, client, done) => {
    if (!packet.topic.startsWith("$SYS/")) publish(packet, client, done);
    else (typeof client === "function" ? client : done)?.();
  };
  await aedes.listen();
  return aedes;
}

/** Resolves when the message is stored where it must be and given to connected subscribers. */
export function publish(aedes: Aedes, packet: Outgoing): Promise<void> {
  const send = (aedes as unknown as { publish: Publish }).publish;
  return new Promise((resolve, reject) => {
    send({ ...packet }, (error?: Error | null) => (error ? reject(error) : resolve()));
  });
}

/**
 * aedes lowers the QoS of a delivery only for a filter equal to the topic, lets the first of
 * several matching filters decide, and lets new messages overtake those it takes from the queue.
 * Here the best of all filters decides [MQTT-3.3.5-1], and a client that is not ready yet gets
 * everything from its queue. Returns what is to be called once it is ready.
 */
export function mendDelivery(
  client: AedesClient,
  persistence: Persistence,
  pipe: { isReady: boolean; connection: number },
): () => void {
  const { deliver0, deliverQoS } = client;
  client.deliver0 = (packet, done) => {
    if (packet.qos > 0 && grantedQos(client, packet.topic) > 0) done();
    else deliver0(packet, done);
  };
  client.deliverQoS = (packet, done) => {
    if (packet.qos > 0) packet.qos = Math.min(packet.qos, grantedQos(client, packet.topic));
    const isQueued = packet.qos > 0 && !client.clean && packet.retain !== true;
    const isFirst = (): boolean =>
      pipe.isReady && persistence.isFirst(client.id, pipe.connection, packet as never);
    if (!isQueued || isFirst()) deliverQoS(packet, done);
    else done();
  };
  return () => {
    if (client.clean) return;
    for (const packet of persistence.unsent(client)) deliverQoS(packet as never, () => {});
  };
}

function grantedQos(client: AedesClient, topic: string): number {
  let best = client.subscriptions[topic]?.qos ?? 0;
  for (const filter in client.subscriptions) {
    const { qos } = client.subscriptions[filter];
    if (qos > best && matches(filter, topic)) best = qos;
  }
  return best;
}
