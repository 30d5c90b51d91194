/**
 * One rider's hold on one channel, whatever carries it. Frames that everybody gets pass through
 * as they are. Where they cannot (the reader is slow, or asked for no more than one position of a
 * driver in so many ms), only the drivers that changed are remembered, and `take` gives the newest
 * of each: never a queue of positions.
 *
 *     recovering ──missed──▶ live ◀──┐ publish: frame ─▶ outlet.frame
 *                             │      └ slow or paced: note ─▶ outlet.due ─▶ take
 *                             ╰──▶ ended
 */
import type { Channel, Subscriber } from "../live/channel.ts";
import type { ChannelSpec } from "../live/channel-name.ts";
import type { HistoryEntry } from "../live/history.ts";
import type { Live } from "../live/live.ts";
import { LATE, LEFT, framePart, type Frame } from "../live/publication.ts";
import type { StreamPosition } from "../live/recovery.ts";
import { limits } from "../model/limits.ts";
import type { Pacer } from "./pacer.ts";
import type { Start, SubscribeOptions, Told } from "./protocol.ts";
import type { StreamMetrics } from "./stream-metrics.ts";

/** What writes to the reader. */
export interface Outlet {
  /** The reader has not read what it was sent before. */
  readonly isSlow: boolean;
  /** To be written before the turn ends; the frame is shared and gone after that. */
  frame(subscription: Subscription, frame: Frame): void;
  /** `take` from it before the turn ends, unless the reader is slow: then when it no longer is. */
  due(subscription: Subscription): void;
  /** It is over, and not by its reader's doing. */
  ended(subscription: Subscription): void;
}

/** What all subscriptions of one transport lean on. */
export type SubscriptionServices = {
  readonly live: Live;
  readonly pacer: Pacer;
  readonly metrics: StreamMetrics;
};

const RECOVERING = 0;
const LIVE = 1;
const ENDED = 2;

export class Subscription implements Subscriber {
  readonly #services: SubscriptionServices;
  readonly #outlet: Outlet;
  readonly #options: SubscribeOptions;
  #channel: Channel;
  #state = RECOVERING;
  /** The reader has everything up to here; of channels with offsets. */
  #offset = 0;
  /** While recovering: the newest that was published. */
  #heard = 0;
  /** Rows of drivers whose newest position the reader does not have; null: none. */
  #changed: Set<number> | null = null;
  /** Of drivers that went away, by id: what says so. */
  #gone: Map<string, string> | null = null;
  /** Paced: not before this, of the pacer's clock. */
  #nextMs = 0;
  /** Paced: the pacer calls at this time; 0: it does not. */
  #calledMs = 0;

  private constructor(
    services: SubscriptionServices,
    outlet: Outlet,
    options: SubscribeOptions,
    spec: ChannelSpec,
  ) {
    this.#services = services;
    this.#outlet = outlet;
    this.#options = options;
    this.#channel = services.live.subscribe(spec, this) as Channel;
  }

  /** Null: more drivers there than may be followed. */
  static open(
    services: SubscriptionServices,
    outlet: Outlet,
    options: SubscribeOptions,
    spec: ChannelSpec,
  ): Subscription | null {
    const subscription = new Subscription(services, outlet, options, spec);
    return subscription.#channel === null ? null : subscription;
  }

  get channel(): Channel {
    return this.#channel;
  }

  get isEnded(): boolean {
    return this.#state === ENDED;
  }

  /** `take` has something that may be told now. */
  get hasNews(): boolean {
    if (!this.#hasNoted) return false;
    return this.#options.interval === 0 || this.#services.pacer.now >= this.#nextMs;
  }

  /** Drivers remembered. */
  get noted(): number {
    return (this.#changed?.size ?? 0) + (this.#gone?.size ?? 0);
  }

  /**
   * Goes live with the newest, or with what was missed since a position. `started` is called in
   * the turn from which on the outlet is told of everything else; it never is when the
   * subscription ends before. Null: it was; else resolves when the log is read no longer.
   */
  begin(since: StreamPosition | null, started: (start: Start) => void): Promise<void> | null {
    if (since !== null && this.#channel.kind === "driver") {
      const { newestOnly } = this.#options;
      return newestOnly ? this.#cached(since, started) : this.#recover(since, started);
    }
    started(this.#newest(false));
    return null;
  }

  close(): void {
    if (this.#state === ENDED) return;
    this.#end();
    this.#services.live.unsubscribe(this.#channel, this);
  }

  publish(channel: Channel, frame: Frame): void {
    if (this.#state !== LIVE) {
      if (this.#state === RECOVERING) this.#heard = lastOffset(frame);
      return;
    }
    const { publications } = frame;
    const isFirstKnown = channel.kind === "driver" && publications[0].offset <= this.#offset;
    if (!isFirstKnown) return this.#publish(frame);
    const next = publications.findIndex(({ offset }) => offset > this.#offset);
    if (next > 0) this.#publish(framePart(frame, next, channel.prefix));
  }

  ended(): void {
    if (this.#state === ENDED) return;
    this.#end();
    this.#outlet.ended(this);
  }

  /** Remembers what a frame said instead of writing it. */
  note({ publications }: Frame): void {
    const { drivers } = this.#services.live;
    // if it had been counted as written
    if (this.#channel.kind === "driver") {
      this.#offset = Math.min(this.#offset, publications[0].offset - 1);
    }
    const before = this.noted;
    for (const { kind, row, bytes, start, end } of publications) {
      if (kind === LATE) continue;
      if (kind >= LEFT) {
        if (this.#changed?.delete(row) && this.#changed.size === 0) this.#changed = null;
        const data = Buffer.from(bytes.subarray(start, end)).toString();
        (this.#gone ??= new Map()).set((JSON.parse(data) as { id: string }).id, data);
      } else {
        (this.#changed ??= new Set()).add(row);
        if (this.#gone?.delete(drivers.id(row)) && this.#gone.size === 0) this.#gone = null;
      }
    }
    const { metrics } = this.#services;
    const added = Math.max(0, this.noted - before);
    if (this.#options.interval === 0) metrics.conflated.value += publications.length - added;
  }

  /** The newest of up to `max` drivers that changed. */
  take(max: number): Told[] {
    const told: Told[] = [];
    for (const [id, data] of this.#gone ?? []) {
      if (told.length >= max) return told;
      this.#gone?.delete(id);
      told.push({ data, offset: 0, gone: true });
    }
    this.#gone = null;
    for (const row of this.#changed ?? []) {
      if (told.length >= max) return told;
      this.#changed?.delete(row);
      if (this.#isThere(row)) told.push(this.#told(row));
    }
    this.#changed = null;
    this.#nextMs = this.#services.pacer.now + this.#options.interval;
    return told;
  }

  /** The pacer's clock has come to where it may be told something. */
  tick(): void {
    this.#calledMs = 0;
    if (this.#hasNoted) this.#duePaced();
  }

  get #hasNoted(): boolean {
    return this.#changed !== null || this.#gone !== null;
  }

  #end(): void {
    this.#state = ENDED;
    if (this.#calledMs > 0) this.#services.pacer.cancel(this.#calledMs, this);
    this.#changed = null;
    this.#gone = null;
  }

  #pace(frame: Frame): void {
    this.note(frame);
    if (this.#hasNoted && this.#calledMs === 0) this.#duePaced();
  }

  #duePaced(): void {
    const { pacer } = this.#services;
    if (pacer.now >= this.#nextMs) return this.#outlet.due(this);
    this.#calledMs = this.#nextMs;
    pacer.at(this.#calledMs, this);
  }

  /** The reader has nothing of it yet. */
  #publish(frame: Frame): void {
    if (this.#options.interval > 0) return this.#pace(frame);
    if (this.#hasNoted) return this.note(frame);
    if (this.#outlet.isSlow) {
      this.note(frame);
      if (this.#hasNoted) this.#outlet.due(this);
      return;
    }
    this.#offset = lastOffset(frame);
    this.#outlet.frame(this, frame);
  }

  /** The newest position of each driver; the reader is live from now on. */
  #newest(wasRecovering: boolean): Start {
    const { live, pacer } = this.#services;
    this.#state = LIVE;
    this.#nextMs = pacer.now + this.#options.interval;
    const publications = live.hub.rowsOf(this.#channel).map((row) => this.#told(row));
    const position = this.#position(0);
    return { publications, position, recovered: false, wasRecovering };
  }

  async #cached(since: StreamPosition, started: (start: Start) => void): Promise<void> {
    const { live, metrics } = this.#services;
    const { partition } = this.#channel;
    const isSame = live.recovery.epochOf(partition) === since.epoch;
    // what it has already may be on its way to this table
    const isKnown =
      isSame && (await live.tracker.waitFor(partition, since.offset, limits.recoveryMsMax));
    if (this.#state === ENDED) return;
    metrics.recovered.value++;
    const start = { ...this.#newest(true), recovered: true };
    if (!isKnown || this.#offset > since.offset) return started(start);
    started({ ...start, publications: [], position: this.#position(since.offset) });
  }

  async #recover(since: StreamPosition, started: (start: Start) => void): Promise<void> {
    const { metrics } = this.#services;
    const missed = await this.#missed(since);
    if (this.#state === ENDED) return;
    if (missed === null) {
      metrics.unrecovered.value++;
      return started(this.#newest(true));
    }
    metrics.recovered.value++;
    this.#newest(true);
    const position = this.#position(Math.max(since.offset, missed.at(-1)?.offset ?? 0));
    started({ publications: missed, position, recovered: true, wasRecovering: true });
  }

  /** Again, when something was published between the answer and our turn. */
  async #missed(since: StreamPosition): Promise<Told[] | null> {
    const { recovery } = this.#services.live;
    const missed: Told[] = [];
    let { offset } = since;
    do {
      const from = { epoch: since.epoch, offset };
      const entries = await recovery.missed(this.#channel, from, () => this.#state !== ENDED);
      if (entries === null || this.#state === ENDED) return null;
      for (const entry of entries) missed.push(toldOf(entry));
      offset = missed.at(-1)?.offset ?? offset;
    } while (this.#heard > offset);
    return missed;
  }

  /** Of a driver's stream: not behind `least`. */
  #position(least: number): StreamPosition | null {
    if (this.#channel.kind !== "driver") return null;
    const { epoch, offset } = this.#services.live.recovery.end(this.#channel);
    this.#offset = Math.max(offset, least);
    return { epoch, offset: this.#offset };
  }

  /** Something of it is left to tell. */
  #isThere(row: number): boolean {
    const { live } = this.#services;
    if (!live.drivers.isUsed(row)) return false;
    if (this.#channel.kind === "driver") return live.drivers.offset[row] >= this.#offset;
    const { spec } = this.#channel;
    if (spec.kind !== "trip") return true;
    return (JSON.parse(`${live.drivers.json(row)}}`) as { trip?: unknown }).trip === spec.trip;
  }

  #told(row: number): Told {
    const { drivers } = this.#services.live;
    const data = `${drivers.json(row)},"received":${drivers.received[row]}}`;
    if (this.#channel.kind !== "driver") return { data, offset: 0, gone: false };
    this.#offset = drivers.offset[row] + 1;
    return { data, offset: this.#offset, gone: false };
  }
}

export function toldOf({ json, received, late, offset }: HistoryEntry): Told {
  const data = `${json},"received":${received}${late ? `,"late":true` : ""}}`;
  return { data, offset: offset + 1, gone: false };
}

const lastOffset = ({ publications }: Frame): number =>
  publications[publications.length - 1].offset;
