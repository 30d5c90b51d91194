/**
 * One rider's connection in the Centrifugo protocol: its commands, its subscriptions, and what it
 * has not read yet. It knows nothing of pings and connections of others.
 *
 *     new ──connect──▶ connected ──▶ closed
 *
 * Commands are taken in order. They wait while the rider leaves answers unread, and while as many
 * of them read the log as may at once; when too much waits, it is closed. A subscribe that reads
 * the log is answered when it has; an unsubscribe meanwhile ends it.
 */
import { randomUUID } from "node:crypto";
import type { UWS } from "../lib/uws.ts";
import type { Ended } from "../live/channel.ts";
import { parseChannel } from "../live/channel-name.ts";
import type { Frame } from "../live/publication.ts";
import { limits } from "../model/limits.ts";
import { version } from "../version.ts";
import { driverHistory } from "./driver-history.ts";
import type { Pressure, Reader } from "./pressure.ts";
import {
  closes,
  connectReply,
  emptyReply,
  errorReply,
  errors,
  historyReply,
  parseCommand,
  publicationPush,
  subscribeReply,
  unsubscribePush,
  type CloseName,
  type Command,
  type ErrorName,
} from "./protocol.ts";
import { Subscription, type Outlet, type SubscriptionServices } from "./subscription.ts";

export type ClientData = { client: Client };

export type ClientServices = SubscriptionServices & {
  readonly pressure: Pressure;
  /** It has something to write: call `write` before the turn ends. */
  due(client: Client): void;
};

/** What is to be written in this turn: a frame, or what there is to `take` when it is null. */
type Due = { subscription: Subscription; frame: Frame | null };

const PONG = "{}";
/** What `ws.send` returns when nothing is left to be written. */
const SENT = 1;

export class Client implements Outlet, Reader {
  readonly #services: ClientServices;
  /** Null once closed. */
  #ws: UWS.WebSocket<ClientData> | null = null;
  #isConnected = false;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Commands of subscriptions that are recovering, by channel. */
  #recovering: Map<string, number> | null = null;
  /** Its history commands that are not answered. */
  #histories = 0;
  /** Lines that wait, and their size; null: none. */
  #waiting: string[] | null = null;
  #waitingBytes = 0;
  /** Answers to be written together; null: none of its commands is being taken. */
  #answers: string[] | null = null;
  #answersBytes = 0;
  #due: Due[] = [];
  /** It was slow: subscriptions remember what it was not told. */
  #mustCatchUp = false;
  #awaitsPong = false;
  /** The second in which it is pinged. */
  slot = 0;
  unsentBytes = 0;
  hasRead = false;
  isSlow = false;

  constructor(services: ClientServices) {
    this.#services = services;
  }

  opened(ws: UWS.WebSocket<ClientData>): void {
    this.#ws = ws;
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
    this.#ws = null;
    this.#due = [];
    this.#waiting = null;
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
    this.#recovering = null;
    this.#services.pressure.unsent(this, 0);
  }

  /** Tells it why, and takes nothing more from it. */
  close(why: CloseName): void {
    const { code, reason } = closes[why];
    // not corked: uWS would send the close frame and forget the FIN
    this.#ws?.end(code, reason);
  }

  closeSlow(now: boolean): void {
    const { metrics } = this.#services;
    metrics.error(closes.slow.code);
    if (now) this.#ws?.close();
    else this.close("slow");
  }

  /** Time for a ping; those who have not said `connect` by now never will. */
  ping(): void {
    if (!this.#isConnected) return this.#fail("stale");
    this.#awaitsPong = true;
    this.#send(PONG);
  }

  /** Some time later. What is not read cannot be answered: that has a clock of its own. */
  checkPong(): void {
    if (this.#awaitsPong && this.unsentBytes === 0) this.#fail("noPong");
  }

  frame(subscription: Subscription, frame: Frame): void {
    this.#add({ subscription, frame });
  }

  due(subscription: Subscription): void {
    this.#add({ subscription, frame: null });
  }

  ended({ channel }: Subscription, _why: Ended): void {
    this.#subscriptions.delete(channel.name);
    if (!this.#refuseRecovering(channel.name)) this.#send(unsubscribePush(channel.name));
  }

  /** Writes what is due: several messages in one piece. */
  write(): void {
    const due = this.#due;
    const ws = this.#ws;
    if (due.length > 0) this.#due = [];
    if (ws === null) return;
    if (due.length === 1) this.#writeOne(due[0]);
    else if (due.length > 1) this.#corked(ws, () => due.forEach((one) => this.#writeOne(one)));
    if (this.#mustCatchUp && this.#ws !== null) this.#corked(ws, () => this.#catchUpAll());
  }

  /** The kernel took something. */
  drained(): void {
    if (this.#ws === null) return;
    this.#measure(this.#ws);
    this.#takeWaiting();
  }

  #add(due: Due): void {
    if (this.#due.push(due) === 1) this.#services.due(this);
  }

  #writeOne({ subscription, frame }: Due): void {
    if (subscription.isEnded || this.#ws === null) return;
    if (frame === null) return this.#catchUp(subscription);
    if (this.isSlow) return subscription.note(frame);
    this.#services.metrics.wrote(frame);
    this.#send(frame.bytes);
  }

  /** The newest of each driver, as long as the reader keeps up. */
  #catchUp(subscription: Subscription): void {
    const { name } = subscription.channel;
    while (subscription.hasNews && !this.isSlow && this.#ws !== null) {
      const told = subscription.take(limits.riderTakeMax);
      if (told.length === 0) continue;
      this.#services.metrics.messages.value += told.length;
      this.#send(told.map((one) => publicationPush(name, one)).join("\n"));
    }
  }

  #catchUpAll(): void {
    this.#mustCatchUp = false;
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.hasNews) this.#catchUp(subscription);
    }
  }

  #takeAll(lines: string[]): void {
    this.#answers = [];
    for (const [i, line] of lines.entries()) {
      if (this.#mustWait()) {
        this.#waiting = lines.slice(i);
        this.#waitingBytes = this.#waiting.reduce((sum, { length }) => sum + length, 0);
        break;
      }
      const command = parseCommand(line);
      if (command === null) this.#fail("badRequest");
      else this.#take(command);
      if (this.#ws === null) break;
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
    const reads = this.#histories + (this.#recovering?.size ?? 0);
    return this.unsentBytes > limits.riderAnswerBytesMax || reads >= limits.riderReadsMax;
  }

  #take(command: Command): void {
    const { kind } = command;
    if (kind === "pong") {
      this.#awaitsPong = false;
    } else if (kind === "connect") {
      if (this.#isConnected) return this.#fail("badRequest");
      this.#isConnected = true;
      this.#answer(connectReply(command.id, randomUUID(), version));
    } else if (!this.#isConnected) {
      this.#fail("badRequest");
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
    const subscription = Subscription.open(this.#services, this, options, spec);
    if (subscription === null) return this.#refuse(id, "limitExceeded");
    this.#subscriptions.set(name, subscription);
    let isStarted = false;
    subscription.begin(since, (start) => {
      isStarted = true;
      this.#recovering?.delete(name);
      this.#answer(subscribeReply(id, start));
      this.#takeWaiting();
    });
    if (!isStarted) (this.#recovering ??= new Map()).set(name, id);
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
    this.#histories++;
    const history = await driverHistory(this.#services.live, spec, asked);
    this.#histories--;
    if (history === null) this.#refuse(id, "unrecoverable");
    else this.#answer(historyReply(id, history.told, history.position));
    this.#takeWaiting();
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
    if (this.#answers === null) return this.#send(text);
    this.#answers.push(text);
    this.#answersBytes += text.length;
    if (this.#answersBytes > limits.riderUnsentBytesMax) this.#flushAnswers();
  }

  #flushAnswers(): void {
    const answers = this.#answers ?? [];
    if (answers.length > 0) this.#send(answers.splice(0).join("\n"));
    this.#answersBytes = 0;
  }

  #send(message: string | Uint8Array): void {
    const ws = this.#ws;
    if (ws === null) return;
    const isSent = ws.send(message) === SENT;
    if (!isSent || this.unsentBytes > 0) this.#measure(ws);
    if (this.unsentBytes > limits.riderUnsentBytesHardMax) this.closeSlow(true);
  }

  #corked(ws: UWS.WebSocket<ClientData>, write: () => void): void {
    ws.cork(write);
    // what was collected is written only now
    if (this.#ws !== null) this.#measure(ws);
  }

  #measure(ws: UWS.WebSocket<ClientData>): void {
    const bytes = ws.getBufferedAmount();
    const wasSlow = this.isSlow;
    this.isSlow = bytes > limits.riderUnsentBytesMax / (wasSlow ? 2 : 1);
    if (wasSlow && !this.isSlow) {
      this.#mustCatchUp = true;
      this.#services.due(this);
    }
    // may close it
    this.#services.pressure.unsent(this, bytes);
  }
}
