/**
 * One rider's connection in the Centrifugo protocol: its commands, its subscriptions, and what it
 * has not read yet. It knows nothing of pings and connections of others.
 *
 *     new ──connect──▶ connected ──▶ closed
 *
 * Commands are taken in order. They wait for other riders when they take long, while the rider
 * leaves answers unread, and while as many as may read the log; when too much waits, it is
 * closed. A subscribe that reads the log is answered when it has; an unsubscribe meanwhile ends
 * it.
 */
import { randomUUID } from "node:crypto";
import type { UWS } from "../lib/uws.ts";
import { parseChannel } from "../live/channel-name.ts";
import { limits } from "../model/limits.ts";
import { version } from "../version.ts";
import { driverHistory } from "./driver-history.ts";
import { Outbox, type OutboxOwner, type OutboxServices } from "./outbox.ts";
import {
  closes,
  connectReply,
  emptyReply,
  errorReply,
  errors,
  historyReply,
  parseCommand,
  subscribeReply,
  unsubscribePush,
  type CloseName,
  type Command,
  type ErrorName,
} from "./protocol.ts";
import { Subscription } from "./subscription.ts";

export type ClientData = { client: Client };

const PONG = "{}";

export class Client implements OutboxOwner {
  readonly #services: OutboxServices;
  readonly #outbox: Outbox;
  #isConnected = false;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Commands of subscriptions that are recovering, by channel. */
  #recovering: Map<string, number> | null = null;
  /** Its commands for which the log is read, also those that it has given up meanwhile. */
  #reads = 0;
  /** Lines that wait, and their size; null: none. */
  #waiting: string[] | null = null;
  #waitingBytes = 0;
  /** Answers to be written together; null: none of its commands is being taken. */
  #answers: string[] | null = null;
  #answersBytes = 0;
  #awaitsPong = false;
  /** The second in which it is pinged. */
  slot = 0;

  constructor(services: OutboxServices) {
    this.#services = services;
    this.#outbox = new Outbox(services, this);
  }

  opened(ws: UWS.WebSocket<ClientData>): void {
    this.#outbox.opened(ws);
  }

  /** A frame of commands. */
  message(text: string): void {
    if (text === PONG && this.#isConnected) {
      this.#awaitsPong = false;
      return;
    }
    if (text.length > limits.riderFrameBytesMax) return this.#fail("tooLarge");
    const lines = text.split("\n");
    if (lines.length > 1 && lines.at(-1) === "") lines.pop();
    if (this.#waiting === null) return this.#takeAll(lines);
    this.#waitingBytes += text.length;
    if (this.#waitingBytes > limits.riderWaitingBytesMax) return this.#fail("slow");
    for (const line of lines) this.#waiting.push(line);
  }

  closed(): void {
    this.#outbox.closed();
    this.#waiting = null;
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
    this.#recovering = null;
  }

  /** Tells it why, and takes nothing more from it. */
  close(why: CloseName): void {
    this.#outbox.close(why);
  }

  /** Time for a ping; those who have not said `connect` by now never will. */
  ping(): void {
    if (!this.#isConnected) return this.#fail("stale");
    this.#awaitsPong = true;
    this.#outbox.send(PONG);
  }

  /** Some time later. What is not read cannot be answered: that has a clock of its own. */
  checkPong(): void {
    if (this.#awaitsPong && this.#outbox.unsentBytes === 0) this.#fail("noPong");
  }

  /** Not by the rider's doing. */
  ended({ channel }: Subscription): void {
    this.#subscriptions.delete(channel.name);
    if (this.#refuseRecovering(channel.name)) return;
    this.#outbox.send(unsubscribePush(channel.name));
  }

  /** The kernel took something. */
  drained(): void {
    this.#outbox.changed();
    this.#takeWaiting();
  }

  /** uWS answers pings of WebSocket's own by itself. */
  ponged(): void {
    this.#outbox.changed();
  }

  #takeAll(lines: string[]): void {
    this.#answers = [];
    const until = performance.now() + limits.riderTurnMs;
    for (const [i, line] of lines.entries()) {
      const isLong = performance.now() > until;
      if (isLong || this.#mustWait()) {
        this.#waiting = lines.slice(i);
        this.#waitingBytes = this.#waiting.reduce((sum, { length }) => sum + length, 0);
        // others first
        if (isLong) setImmediate(() => this.#takeWaiting());
        break;
      }
      const command = parseCommand(line);
      if (command === null) this.#fail("badRequest");
      else this.#take(command);
      if (!this.#outbox.isOpen) break;
    }
    this.#flushAnswers();
    this.#answers = null;
  }

  #takeWaiting(): void {
    const lines = this.#waiting;
    if (lines === null || this.#mustWait()) return;
    this.#waiting = null;
    this.#takeAll(lines);
  }

  #mustWait(): boolean {
    if (this.#reads >= limits.riderReadsMax) return true;
    return this.#outbox.unsentBytes > limits.riderAnswerBytesMax;
  }

  #take(command: Command): void {
    const { kind } = command;
    // the first command, and only the first
    if ((kind === "connect") === this.#isConnected) return this.#fail("badRequest");
    if (kind === "connect") {
      this.#isConnected = true;
      this.#answer(connectReply(command.id, randomUUID(), version));
    } else if (kind === "pong") {
      this.#awaitsPong = false;
    } else if (kind === "subscribe") {
      this.#subscribe(command);
    } else if (kind === "unsubscribe") {
      this.#unsubscribe(command.channel);
      this.#answer(emptyReply(command.id, "unsubscribe"));
    } else if (kind === "history") {
      void this.#history(command);
    } else if (kind === "ping") {
      this.#answer(emptyReply(command.id, "ping"));
    } else if (command.id > 0) {
      this.#refuse(command.id, "notAvailable");
    } else {
      this.#services.metrics.error(errors.notAvailable.code);
    }
  }

  #subscribe(command: Command & { kind: "subscribe" }): void {
    const { id, channel: name, since, options } = command;
    const spec = parseChannel(name);
    if (spec === "unknown") return this.#refuse(id, "unknownChannel");
    if (spec === "malformed" || options === null) return this.#refuse(id, "badRequest");
    if (this.#subscriptions.has(name)) return this.#refuse(id, "alreadySubscribed");
    if (this.#subscriptions.size >= limits.riderSubscriptionsMax) {
      return this.#refuse(id, "limitExceeded");
    }
    const subscription = Subscription.open(this.#services, this.#outbox, options, spec);
    if (subscription === null) return this.#refuse(id, "limitExceeded");
    this.#subscriptions.set(name, subscription);
    const recovery = subscription.begin(since, (start) => {
      this.#recovering?.delete(name);
      this.#answer(subscribeReply(id, start));
    });
    if (recovery === null) return;
    (this.#recovering ??= new Map()).set(name, id);
    this.#reads++;
    void recovery.then(() => this.#readOver());
  }

  #readOver(): void {
    this.#reads--;
    this.#takeWaiting();
  }

  #unsubscribe(name: string): void {
    const subscription = this.#subscriptions.get(name);
    if (subscription === undefined) return;
    this.#subscriptions.delete(name);
    subscription.close();
    this.#refuseRecovering(name);
  }

  /** The answer to a subscribe that will not be. */
  #refuseRecovering(name: string): boolean {
    const id = this.#recovering?.get(name);
    if (id === undefined) return false;
    this.#recovering?.delete(name);
    this.#refuse(id, "internal");
    return true;
  }

  async #history({ id, channel: name, ...asked }: Command & { kind: "history" }): Promise<void> {
    const spec = parseChannel(name);
    if (spec === "unknown") return this.#refuse(id, "unknownChannel");
    if (spec === "malformed") return this.#refuse(id, "badRequest");
    if (spec.kind !== "driver") return this.#refuse(id, "notAvailable");
    this.#reads++;
    const history = await driverHistory(this.#services.live, spec, asked);
    if (history === null) this.#refuse(id, "unrecoverable");
    else this.#answer(historyReply(id, history.told, history.position));
    this.#readOver();
  }

  #refuse(id: number, name: ErrorName): void {
    this.#services.metrics.error(errors[name].code);
    this.#answer(errorReply(id, name));
  }

  #fail(why: CloseName): void {
    this.#services.metrics.error(closes[why].code);
    this.close(why);
  }

  #answer(text: string): void {
    if (this.#answers === null) return this.#outbox.send(text);
    this.#answers.push(text);
    this.#answersBytes += text.length;
    if (this.#answersBytes > limits.riderUnsentBytesMax) this.#flushAnswers();
  }

  #flushAnswers(): void {
    const answers = this.#answers ?? [];
    if (answers.length > 0) this.#outbox.send(answers.splice(0).join("\n"));
    this.#answersBytes = 0;
  }
}
