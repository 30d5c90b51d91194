/** What the broker keeps for a client that connected with clean session 0. */
import { limits } from "../../model/limits.ts";

export type Subscription = {
  clientId: string;
  topic: string;
  qos: number;
  rh?: number;
  rap?: boolean;
  nl?: boolean;
  subscriptionIdentifier?: number;
};

/**
 * A packet as aedes builds it. Between PUBREC and PUBCOMP a queued one has but a `cmd` of `pubrel`
 * and its `messageId`.
 */
export type Packet = {
  cmd: string;
  topic: string;
  payload: Buffer;
  qos: number;
  retain: boolean;
  dup: boolean;
  brokerId?: string;
  brokerCounter?: number;
  messageId?: number;
  /** ms */
  messageExpiry?: number;
};

export type Queued = {
  /** Its place among all queued messages; part of its key. */
  seq: number;
  expires: number;
  /** The connection it was last sent on, see Session.connection; 0: not sent. */
  sentOn: number;
  packet: Packet;
  /** Of the payload; shared payloads count for each session. */
  bytes: number;
};

export class Session {
  readonly id: string;
  readonly subscriptions = new Map<string, Subscription>();
  /** Oldest first: not sent yet, or not acknowledged by the client. */
  queue: Queued[] = [];
  queuedBytes = 0;
  /** Ordinal of the present or last connection; 0: none since the start. */
  connection = 0;
  /** While the journal is read: there are messages, but no session. */
  ended = false;

  constructor(id: string) {
    this.id = id;
  }

  /** The oldest message when there is no room for another of `bytes`. */
  overflow(connected: boolean, bytes: number): Queued | undefined {
    // what a connected client has under way is bounded as QoS 2 is
    const max = connected ? limits.qos2InflightMax : limits.commandsQueuedPerDeviceMax;
    const full = this.queue.length >= max || this.queuedBytes + bytes > limits.sessionQueueBytesMax;
    return full ? this.queue[0] : undefined;
  }

  push(message: Queued): void {
    this.queue.push(message);
    this.queuedBytes += message.bytes;
  }

  remove(message: Queued): boolean {
    const at = this.queue.indexOf(message);
    if (at < 0) return false;
    this.queue.splice(at, 1);
    this.queuedBytes -= message.bytes;
    return true;
  }

  byMessageId(messageId: number | undefined): Queued | undefined {
    return this.queue.find((m) => m.packet.messageId === messageId);
  }

  byCounter({ brokerId, brokerCounter }: Packet): Queued | undefined {
    if (brokerCounter === undefined) return undefined; // a PUBREL
    return this.queue.find(
      ({ packet }) => packet.brokerCounter === brokerCounter && packet.brokerId === brokerId,
    );
  }

  /** A packet id that no message under way uses. */
  freeMessageId(wanted: number): number {
    let id = wanted;
    while (this.byMessageId(id) !== undefined) id = id >= 65_535 ? 1 : id + 1;
    return id;
  }
}
