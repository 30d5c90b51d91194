/**
 * What one rider is sent over its WebSocket. Within a turn it is collected and leaves in one
 * write. While the rider is slow nothing is added: its subscriptions remember who changed, and
 * give the newest of each when the kernel has taken what there was.
 */
import type { UWS } from "../lib/uws.ts";
import type { Frame } from "../live/publication.ts";
import { limits } from "../model/limits.ts";
import type { ClientData } from "./client.ts";
import type { Pressure, Reader } from "./pressure.ts";
import { closes, publicationPush, type CloseName } from "./protocol.ts";
import type { Outlet, Subscription, SubscriptionServices } from "./subscription.ts";

export type OutboxServices = SubscriptionServices & {
  readonly pressure: Pressure;
  /** It has something to write: call `write` before the turn ends. */
  due(outbox: Outbox): void;
};

/** Whose outbox it is. */
export interface OutboxOwner {
  ended(subscription: Subscription): void;
}

/** What `ws.send` returns when nothing is left to be written. */
const SENT = 1;
/** Of an entry in a set of drivers. */
const NOTED_BYTES = 40;

export class Outbox implements Outlet, Reader {
  readonly #services: OutboxServices;
  readonly #owner: OutboxOwner;
  /** Null before it is open, and once it is closed. */
  #ws: UWS.WebSocket<ClientData> | null = null;
  /** Of this turn; a frame that is null stands for what the subscription has to `take`. */
  #subscriptions: Subscription[] = [];
  #frames: (Frame | null)[] = [];
  /** Subscriptions that remember what the rider was not told. */
  #behind: Set<Subscription> | null = null;
  unsentBytes = 0;
  hasRead = false;
  isSlow = false;

  constructor(services: OutboxServices, owner: OutboxOwner) {
    this.#services = services;
    this.#owner = owner;
  }

  get isOpen(): boolean {
    return this.#ws !== null;
  }

  get heldBytes(): number {
    let bytes = this.unsentBytes;
    for (const { noted } of this.#behind ?? []) bytes += noted * NOTED_BYTES;
    return bytes;
  }

  opened(ws: UWS.WebSocket<ClientData>): void {
    this.#ws = ws;
  }

  closed(): void {
    this.#ws = null;
    this.#subscriptions = [];
    this.#frames = [];
    this.#behind = null;
    this.#services.pressure.unsent(this, 0);
  }

  frame(subscription: Subscription, frame: Frame): void {
    this.#add(subscription, frame);
  }

  due(subscription: Subscription): void {
    this.#add(subscription, null);
  }

  ended(subscription: Subscription): void {
    this.#behind?.delete(subscription);
    this.#owner.ended(subscription);
  }

  /** Writes what is due: several messages in one piece. */
  write(): void {
    const ws = this.#ws;
    if (ws === null) return;
    const subscriptions = this.#subscriptions;
    const frames = this.#frames;
    if (subscriptions.length === 1 && frames[0] !== null && this.#behind === null) {
      const [subscription] = subscriptions;
      const [frame] = frames;
      subscriptions.length = 0;
      frames.length = 0;
      return this.#writeOne(subscription, frame);
    }
    this.#subscriptions = [];
    this.#frames = [];
    ws.cork(() => {
      for (const [i, subscription] of subscriptions.entries()) {
        this.#writeOne(subscription, frames[i]);
      }
      this.#catchUpAll();
    });
    // what was collected is written only now
    if (this.#ws !== null) this.#measure(ws);
  }

  /** At once. */
  send(message: string | Uint8Array): void {
    const ws = this.#ws;
    if (ws === null) return;
    const isSent = ws.send(message) === SENT;
    if (!isSent || this.unsentBytes > 0) this.#measure(ws);
  }

  /** The kernel took something, or something was written past this. */
  changed(): void {
    if (this.#ws !== null) this.#measure(this.#ws);
  }

  /** Tells it why; what is unsent goes before. */
  close(why: CloseName): void {
    const { code, reason } = closes[why];
    // not corked: uWS would send the close frame and forget the FIN
    this.#ws?.end(code, reason);
  }

  closeSlow(now: boolean): void {
    if (this.#ws === null) return;
    this.#services.metrics.error(closes.slow.code);
    if (now) this.#ws.close();
    else this.close("slow");
  }

  #add(subscription: Subscription, frame: Frame | null): void {
    this.#frames.push(frame);
    if (this.#subscriptions.push(subscription) === 1) this.#services.due(this);
  }

  #writeOne(subscription: Subscription, frame: Frame | null): void {
    if (subscription.isEnded || this.#ws === null) return;
    if (frame === null) return this.#catchUp(subscription);
    if (this.isSlow) {
      subscription.note(frame);
      this.#remember(subscription);
      return;
    }
    this.#services.metrics.wrote(frame);
    this.send(frame.bytes);
  }

  /** The newest of each driver, as long as the rider keeps up. */
  #catchUp(subscription: Subscription): void {
    while (subscription.hasNews && this.#ws !== null) {
      if (this.isSlow) return this.#remember(subscription);
      const told = subscription.take(limits.riderTakeMax);
      if (told.length === 0) continue;
      const { name } = subscription.channel;
      this.#services.metrics.messages.value += told.length;
      this.send(told.map((one) => publicationPush(name, one)).join("\n"));
    }
  }

  #remember(subscription: Subscription): void {
    (this.#behind ??= new Set()).add(subscription);
  }

  #catchUpAll(): void {
    if (this.#behind === null || this.isSlow) return;
    const behind = this.#behind;
    this.#behind = null;
    for (const subscription of behind) if (!subscription.isEnded) this.#catchUp(subscription);
  }

  #measure(ws: UWS.WebSocket<ClientData>): void {
    const bytes = ws.getBufferedAmount();
    const { riderUnsentBytesMax } = limits;
    this.isSlow = bytes > (this.isSlow ? riderUnsentBytesMax / 2 : riderUnsentBytesMax);
    if (!this.isSlow && this.#behind !== null) this.#services.due(this);
    // either may close it
    this.#services.pressure.unsent(this, bytes);
    if (bytes > limits.riderUnsentBytesHardMax) this.closeSlow(true);
  }
}
