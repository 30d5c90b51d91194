/**
 * The map's connection. It follows what is on screen (a `bbox:` channel around the view, another
 * when the view leaves it) and the driver that is selected. While another box is being subscribed
 * the markers stay; whoever is not in its snapshot goes when that has come.
 */
import { Centrifuge, type Subscription } from "centrifuge";
import { around, serves, text, type Box } from "./box.ts";
import type { Ping, Publication } from "./ping.ts";

export type Connection = "connecting" | "live" | "reconnecting" | "refused" | "paused";

export type FeedListener = {
  connection(state: Connection, reason: string): void;
  /** A snapshot of the box follows, `publication` by publication, then `endSnapshot`. */
  beginSnapshot(): void;
  endSnapshot(): void;
  /** More drivers are in the box than the gateway sends. */
  tooMany(box: Box): void;
  publication(data: Publication): void;
  /** Of the selected driver's own channel; `missed`: some before it are not known. */
  followed(data: Ping): void;
  missed(id: string): void;
};

/** The gateway's answer to a box with too many drivers. */
const LIMIT_EXCEEDED = 106;
/** Above so many drivers in view their updates come at most so often. */
const INTERVALS = [
  { drivers: 2000, ms: 1000 },
  { drivers: 400, ms: 500 },
  { drivers: 0, ms: 0 },
];

export class Feed {
  readonly #client: Centrifuge;
  readonly #listener: FeedListener;
  #area: { subscription: Subscription; box: Box; intervalMs: number } | null = null;
  /** The last box that was refused. */
  #refused: Box | null = null;
  #driver: { subscription: Subscription; id: string } | null = null;
  #wasLive = false;
  #paused = false;

  constructor(listener: FeedListener) {
    this.#listener = listener;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this.#client = new Centrifuge(`${scheme}//${location.host}/connection/websocket`, {
      name: "map",
      minReconnectDelay: 300,
      maxReconnectDelay: 5000,
    });
    this.#client.on("connecting", ({ reason }) => {
      if (!this.#paused) listener.connection(this.#wasLive ? "reconnecting" : "connecting", reason);
    });
    this.#client.on("connected", () => {
      this.#wasLive = true;
      listener.connection("live", "");
    });
    this.#client.on("disconnected", ({ reason }) => {
      if (!this.#paused) listener.connection("refused", reason);
    });
    this.#client.on("error", () => {}); // each leads to a state above
  }

  /** The box that is followed; null: none, or the last one had too many drivers. */
  get box(): Box | null {
    return this.#area?.box ?? null;
  }

  /** The box that had too many drivers, when that is what the view shows. */
  get refused(): Box | null {
    return this.#refused;
  }

  /** It may have fewer by now: the next look asks again. */
  retry(): void {
    this.#refused = null;
  }

  connect(): void {
    this.#paused = false;
    this.#client.connect();
  }

  /** Nobody looks: the gateway need not send. Subscriptions are taken up again by `connect`. */
  pause(): void {
    this.#paused = true;
    this.#client.disconnect();
    this.#listener.connection("paused", "");
  }

  /** Follows the view. `drivers`: how many there are in it, about. */
  look(view: Box, drivers: number): void {
    const intervalMs = INTERVALS.find((step) => drivers >= step.drivers)?.ms ?? 0;
    const area = this.#area;
    if (area !== null && area.intervalMs === intervalMs && serves(area.box, view)) return;
    if (area === null && this.#refused !== null && serves(this.#refused, view)) return;
    this.#subscribe(around(view), intervalMs);
  }

  select(id: string | null): void {
    if (this.#driver?.id === id) return;
    if (this.#driver !== null) this.#drop(this.#driver.subscription);
    this.#driver = null;
    if (id === null) return;
    const subscription = this.#client.newSubscription(`driver:${id}`);
    subscription.on("publication", ({ data }) => this.#listener.followed(data as Ping));
    subscription.on("subscribed", ({ wasRecovering, recovered }) => {
      if (wasRecovering && !recovered) this.#listener.missed(id);
    });
    subscription.subscribe();
    this.#driver = { subscription, id };
  }

  #subscribe(box: Box, intervalMs: number): void {
    if (this.#area !== null) this.#drop(this.#area.subscription);
    this.#refused = null;
    const listener = this.#listener;
    const data = intervalMs > 0 ? { interval: intervalMs } : undefined;
    const subscription = this.#client.newSubscription(`bbox:${text(box)}`, { data });
    subscription.on("publication", ({ data: publication }) => {
      listener.publication(publication as Publication);
    });
    // the snapshot's publications are delivered in the same turn, behind this event
    subscription.on("subscribed", () => {
      listener.beginSnapshot();
      queueMicrotask(() => listener.endSnapshot());
    });
    const onRefused = (code: number): void => {
      if (code !== LIMIT_EXCEEDED || this.#area?.subscription !== subscription) return;
      this.#drop(subscription);
      this.#area = null;
      this.#refused = box;
      listener.tooMany(box);
    };
    subscription.on("error", ({ error }) => onRefused(error.code));
    subscription.on("unsubscribed", ({ code }) => onRefused(code));
    subscription.subscribe();
    this.#area = { subscription, box, intervalMs };
  }

  #drop(subscription: Subscription): void {
    subscription.removeAllListeners();
    subscription.unsubscribe();
    this.#client.removeSubscription(subscription);
  }
}
