/** A driver's last publications, for riders who ask without following. */
import type { Subscriber } from "../live/channel.ts";
import type { ChannelSpec } from "../live/channel-name.ts";
import type { Live } from "../live/live.ts";
import type { StreamPosition } from "../live/recovery.ts";
import { limits } from "../model/limits.ts";
import type { Told } from "./protocol.ts";
import { toldOf } from "./subscription.ts";

export type HistoryAsked = {
  /** 0: only where the stream is; below 0: all there are. */
  limit: number;
  /** Newer than this, or older in reverse. */
  since: StreamPosition | null;
  /** Newest first. */
  reverse: boolean;
};

/** Null: `since` is of another stream, this one has ended meanwhile, or there are too many. */
export async function driverHistory(
  live: Live,
  spec: ChannelSpec,
  { limit, since, reverse }: HistoryAsked,
): Promise<{ told: Told[]; position: StreamPosition } | null> {
  const { recovery } = live;
  let hasEnded = false;
  // holds the channel open, and its row with it, while its history is read
  const reader: Subscriber = { publish: () => {}, ended: () => void (hasEnded = true) };
  const channel = live.subscribe(spec, reader);
  if (channel === null) return null;
  try {
    const isOther = since !== null && since.epoch !== "" && since.epoch !== epoch();
    if (isOther) return null;
    const entries = limit === 0 ? [] : await recovery.newest(channel, limits.historyMax);
    if (hasEnded) return null;
    let told = entries.map(toldOf);
    if (since !== null) {
      told = told.filter(({ offset }) => (reverse ? offset < since.offset : offset > since.offset));
    }
    if (reverse) told.reverse();
    const position = recovery.end(channel);
    const last = Math.max(position.offset, entries.at(-1)?.offset ?? 0);
    return {
      told: limit < 0 ? told : told.slice(0, limit),
      position: { ...position, offset: last },
    };
  } finally {
    live.unsubscribe(channel, reader);
  }

  function epoch(): string {
    return channel === null ? "" : recovery.end(channel).epoch;
  }
}
