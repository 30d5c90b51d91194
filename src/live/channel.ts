import type { Area } from "./area.ts";
import type { ChannelKind, ChannelSpec } from "./channel-name.ts";
import { linePrefix, type Frame, type Publication } from "./publication.ts";

/** Why a subscription ends without its reader's doing. */
export type Ended = "too_many_drivers" | "topic_changed";

/** One reader's hold on one channel. Within `publish` it may unsubscribe, and not subscribe. */
export interface Subscriber {
  /** What was published in this turn; the frame is valid until the call returns. */
  publish(channel: Channel, frame: Frame): void;
  /** The hub has let go of it. */
  ended(channel: Channel, why: Ended): void;
}

/** What somebody follows; it stays for a while when they have gone, for they may come back. */
export class Channel {
  readonly spec: ChannelSpec;
  /** Of a cell or a box. */
  readonly area: Area | null;
  readonly prefix: Uint8Array;
  readonly subscribers = new Set<Subscriber>();
  /** Of this turn, not yet encoded. */
  publications: Publication[] = [];
  /** Drivers in the area. */
  drivers = 0;
  /** Of a `driver:` channel; -1 while the driver was never seen. */
  row = -1;
  /** Where the pings of its driver are. */
  partition = 0;
  /** They are elsewhere now, or some were never looked at: the channel ends with this turn. */
  isBroken = false;
  /** Where its part of the history begins: every publication from this offset on is there. */
  completeFrom = 0;
  /** The last one left at this time, ms; `Infinity` while somebody is there. */
  leftAt = Infinity;
  /** Which ping it was last looked at for. */
  seenFor = 0;

  constructor(spec: ChannelSpec) {
    this.spec = spec;
    this.area = "area" in spec ? spec.area : null;
    this.prefix = linePrefix(spec.name);
  }

  get name(): string {
    return this.spec.name;
  }

  get kind(): ChannelKind {
    return this.spec.kind;
  }
}

/** A channel of a cell or a box. */
export type AreaChannel = Channel & { readonly area: Area };
