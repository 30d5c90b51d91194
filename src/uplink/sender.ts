/**
 * Sends lanes' batches to the brokers that lead them: requests of one batch a partition, several on
 * their way to a broker in order. After a failure a broker gets one request, until it answers.
 */
import type { Broker } from "@platformatic/kafka";
import { baseOffset, endOffset, maxTimestamp } from "../batch/header.ts";
import { limits } from "../model/limits.ts";
import { Backoff } from "./backoff.ts";
import type { Answer } from "./forwarding.ts";
import type { Lane } from "./lane.ts";
import { merged } from "./merge.ts";
import type { ProduceBatch } from "./raw-produce.ts";
import type { Producer } from "./stamped.ts";
import type { Target } from "./target.ts";

/** No answer came; Kafka has no such code. */
export const NO_ANSWER = -2;

export type SenderEvents = {
  answered(lane: Lane, base: number, answer: Answer, time: number): void;
  /** The log has nothing between where a lane is and this offset; nothing of it is in flight. */
  gap(lane: Lane, base: number): void;
  /** A request failed as a whole. */
  failed(error: unknown): void;
  /** All of one answer was told. */
  done(): void;
};

type Node = {
  inFlight: number;
  isProven: boolean;
  answeredAt: number;
  retryAt: number;
  backoff: Backoff;
};

/** A broker may have closed a connection that was quiet for so long. */
const QUIET_MS = 60_000;
type Sent = { lane: Lane; base: number; time: number };

export class Sender {
  readonly #target: Target;
  readonly #events: SenderEvents;
  readonly #nodes = new Map<number, Node>();
  /** Where the next request begins to look: every lane has its turn. */
  #turn = 0;
  readonly counts = { requests: 0, batches: 0, bytes: 0 };

  constructor(target: Target, events: SenderEvents) {
    this.#target = target;
    this.#events = events;
  }

  get inFlight(): number {
    let all = 0;
    for (const { inFlight } of this.#nodes.values()) all += inFlight;
    return all;
  }

  /** As much as may leave now. */
  send(id: number, broker: Broker, lanes: Lane[], producer: Producer, now: number): void {
    const node = this.#nodeOf(id);
    if (node.inFlight === 0 && now - node.answeredAt > QUIET_MS) node.isProven = false;
    const most = node.isProven ? limits.uplinkRequestsInFlight : 1;
    while (node.inFlight < most && node.retryAt <= now) {
      const { batches, sent } = this.#collect(lanes, producer, now);
      if (batches.length === 0) return;
      node.inFlight++;
      void this.#request(node, broker, batches, sent);
    }
  }

  #nodeOf(id: number): Node {
    let node = this.#nodes.get(id);
    if (node === undefined) {
      const backoff = new Backoff(limits.clusterRetryMsMin, limits.clusterRetryMsMax);
      node = { inFlight: 0, isProven: false, answeredAt: 0, retryAt: 0, backoff };
      this.#nodes.set(id, node);
    }
    return node;
  }

  #collect(
    lanes: Lane[],
    producer: Producer,
    now: number,
  ): { batches: ProduceBatch[]; sent: Sent[] } {
    const batches: ProduceBatch[] = [];
    const sent: Sent[] = [];
    let bytes = 0;
    const first = this.#turn++;
    for (let n = 0; n < lanes.length; n++) {
      const lane = lanes[(first + n) % lanes.length];
      const { head: batch, forwarding, topic, partition } = lane;
      if (batch === undefined || lane.isSaving || lane.retryAt > now) continue;
      if (!forwarding.maySend || !lane.isWhole) continue;
      const base = baseOffset(batch);
      if (base !== forwarding.next) {
        if (forwarding.inFlight === 0) this.#events.gap(lane, base);
        continue;
      }
      if (bytes > 0 && bytes + batch.byteLength > limits.uplinkRequestBytes) break;
      const taken = lane.take();
      const last = taken[taken.length - 1];
      const time = maxTimestamp(last);
      const one = merged(taken, producer, forwarding.sent(endOffset(last)));
      bytes += one.byteLength;
      batches.push({ topic, partition, batch: one });
      sent.push({ lane, base, time });
    }
    this.counts.bytes += bytes;
    this.counts.batches += batches.length;
    if (batches.length > 0) this.counts.requests++;
    return { batches, sent };
  }

  async #request(node: Node, broker: Broker, batches: ProduceBatch[], sent: Sent[]): Promise<void> {
    const answers = new Map<string, Answer>();
    try {
      for (const answer of await this.#target.produce(broker, batches)) {
        answers.set(`${answer.topic}/${answer.partition}`, answer);
      }
      node.isProven = true;
      node.answeredAt = performance.now();
      node.backoff.reset();
    } catch (error) {
      // those behind it fail with it: one wait for them all
      if (node.isProven || node.inFlight === 1)
        node.retryAt = performance.now() + node.backoff.nextMs();
      node.isProven = false;
      this.#events.failed(error);
    }
    node.inFlight--;
    for (const { lane, base, time } of sent) {
      const answer = answers.get(`${lane.topic}/${lane.partition}`);
      this.#events.answered(lane, base, answer ?? { errorCode: NO_ANSWER, baseOffset: -1 }, time);
    }
    this.#events.done();
  }
}
