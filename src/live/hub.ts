/**
 * Who follows what, and what they are told of each ping. Nothing here waits: between a snapshot
 * and the stream behind it there is no moment in which a ping could pass unseen.
 *
 *     position(row, ping, …)   for each ping, before the table changes
 *     flush()                  at the end of a turn: each channel encoded once, told to each
 *
 * A ping that nobody follows costs a look at its row and at the grid of areas.
 */
import { limits } from "../model/limits.ts";
import { AreaGrid } from "./area-grid.ts";
import { type AreaChannel, Channel, type Ended, type Subscriber } from "./channel.ts";
import type { ChannelSpec } from "./channel-name.ts";
import { type DriverIndex } from "./driver-index.ts";
import { type DriverTable, NO_ROW, STALE } from "./drivers.ts";
import type { History } from "./history.ts";
import { type LivePing, tripHashOf } from "./live-ping.ts";
import { FrameEncoder, GONE_STALE, LATE, LEFT, POSITION, type Publication } from "./publication.ts";

/** Where a driver's pings are, and up to which offset they are in the table. */
type Stream = { partition: number; applied: number };

export class Hub {
  readonly #drivers: DriverTable;
  readonly #index: DriverIndex;
  readonly #history: History;
  readonly #encoder = new FrameEncoder();
  /** Every channel, by name. */
  readonly #channels = new Map<string, Channel>();
  readonly #byRow = new Map<number, Channel>();
  /** Drivers that were never seen, by id. */
  readonly #unseen = new Map<string, Channel>();
  /** By the hash of the trip's id. */
  readonly #trips = new Map<number, Channel[]>();
  readonly #areas = new AreaGrid<AreaChannel>();
  /** Channels nobody follows, in the order they were left. */
  readonly #left = new Set<Channel>();
  #dirty: Channel[] = [];
  #pings = 0;
  /** At the end of a flush: whoever was told something may write it. */
  onFlushed: () => void = () => {};

  constructor(drivers: DriverTable, index: DriverIndex, history: History) {
    this.#drivers = drivers;
    this.#index = index;
    this.#history = history;
  }

  get channels(): number {
    return this.#channels.size - this.#left.size;
  }

  /** `streamOf`: where a driver's pings are. Null: more drivers there, or channels, than may be. */
  subscribe(
    spec: ChannelSpec,
    subscriber: Subscriber,
    streamOf: (id: string, row: number) => Stream,
  ): Channel | null {
    const channel = this.#channels.get(spec.name) ?? this.#open(spec, streamOf);
    if (channel === null || channel.drivers > maxDrivers(channel)) return null;
    channel.leftAt = Infinity;
    this.#left.delete(channel);
    channel.subscribers.add(subscriber);
    return channel;
  }

  unsubscribe(channel: Channel, subscriber: Subscriber, nowMs: number): void {
    channel.subscribers.delete(subscriber);
    if (channel.subscribers.size > 0 || this.#channels.get(channel.name) !== channel) return;
    // only a driver's history is worth keeping
    if (channel.kind !== "driver") return this.#close(channel);
    channel.leftAt = nowMs;
    this.#left.add(channel);
    if (this.#left.size <= limits.channelsLeftMax) return;
    // many at once: finding the first of a set costs as much as was deleted before it
    let many = Math.ceil(limits.channelsLeftMax / 8);
    for (const oldest of this.#left) {
      this.#close(oldest);
      if (--many === 0) break;
    }
  }

  /** Rows that a channel's followers see now. */
  rowsOf(channel: Channel): number[] {
    const { spec } = channel;
    const { flags } = this.#drivers;
    const rows: number[] = [];
    if (spec.kind === "driver") {
      if (channel.row !== NO_ROW) rows.push(channel.row);
    } else if (spec.kind === "trip") {
      const hash = tripHashOf(spec.trip);
      for (let row = 0; row < this.#drivers.rows; row++) {
        if (this.#drivers.trip[row] !== hash || (flags[row] & STALE) !== 0) continue;
        if (this.#drivers.isUsed(row) && isOnTrip(this.#drivers.json(row), spec.trip))
          rows.push(row);
      }
    } else {
      this.#index.within(spec.area, (row) => {
        if ((flags[row] & STALE) === 0) rows.push(row);
      });
    }
    return rows;
  }

  /** A ping of a driver, before the table has it. `isNew`: the driver's first. */
  position(row: number, ping: LivePing, partition: number, isLate: boolean, isNew: boolean): void {
    if (isNew && this.#unseen.size > 0) this.#seen(row, ping);
    if (this.#byRow.size > 0) this.#onDriver(row, ping, partition, isLate);
    if (ping.tripHash !== 0 && this.#trips.size > 0) this.#onTrip(row, ping, isLate);
    if (!isLate && this.#areas.size > 0) this.#moved(row, ping, isNew);
  }

  /** The driver of a row has not been heard of for so long that it counts as gone. */
  stale(row: number): void {
    if (this.#areas.size === 0) return;
    const lat = this.#drivers.lat[row];
    const lon = this.#drivers.lon[row];
    const leave = (channel: AreaChannel): void => {
      if (!channel.area.contains(lat, lon)) return;
      channel.drivers--;
      this.#publishGone(channel, row, GONE_STALE);
    };
    for (const channel of this.#areas.at(lat, lon)) leave(channel);
    for (const channel of this.#areas.wide) leave(channel);
  }

  /** Whether somebody follows the driver, or did so a moment ago: then it is not forgotten. */
  follows(row: number): boolean {
    return this.#byRow.has(row);
  }

  /** Tells everybody what was published since the last flush. */
  flush(): void {
    if (this.#dirty.length === 0) return;
    const dirty = this.#dirty;
    this.#dirty = [];
    this.#encoder.begin();
    for (const channel of dirty) {
      const { publications } = channel;
      channel.publications = [];
      if (channel.subscribers.size === 0 || publications.length === 0) continue;
      const frame = this.#encoder.frame(channel.prefix, publications);
      for (const subscriber of channel.subscribers) subscriber.publish(channel, frame);
    }
    // whoever is told so may subscribe again: not before everybody has heard of this turn
    for (const channel of dirty) {
      if (channel.isBroken) this.#end(channel, "topic_changed");
      else if (channel.drivers > maxDrivers(channel)) this.#end(channel, "too_many_drivers");
    }
    this.onFlushed();
  }

  /** Pings of a partition were never looked at: whoever follows its drivers begins anew. */
  passedOver(partition: number): void {
    for (const channels of [this.#byRow, this.#unseen]) {
      for (const channel of channels.values()) {
        if (channel.partition === partition) this.#breakOff(channel);
      }
    }
  }

  /** Ends every subscription: what was known of the log holds no longer. */
  reset(): void {
    const channels = [...this.#channels.values()];
    for (const channel of channels) this.#end(channel, "topic_changed");
  }

  /** Closes channels that were left long ago. */
  sweep(nowMs: number): void {
    for (const channel of this.#left) {
      if (channel.leftAt + limits.channelLeftMsMax > nowMs) break;
      this.#close(channel);
    }
  }

  #open(spec: ChannelSpec, streamOf: (id: string, row: number) => Stream): Channel | null {
    if (this.channels >= limits.channelsMax) return null;
    const channel = new Channel(spec);
    if (spec.kind === "driver") {
      channel.row = this.#drivers.findId(spec.id);
      const { partition, applied } = streamOf(spec.id, channel.row);
      channel.partition = partition;
      channel.completeFrom = applied;
      if (channel.row === NO_ROW) this.#unseen.set(spec.id, channel);
      else this.#byRow.set(channel.row, channel);
    } else if (spec.kind === "trip") {
      const hash = tripHashOf(spec.trip);
      const there = this.#trips.get(hash);
      if (there === undefined) this.#trips.set(hash, [channel]);
      else there.push(channel);
    } else {
      const max = maxDrivers(channel);
      this.#index.within(spec.area, (row) => {
        if ((this.#drivers.flags[row] & STALE) === 0) channel.drivers++;
        return channel.drivers <= max;
      });
      if (channel.drivers > max || !this.#areas.add(channel as AreaChannel)) return null;
    }
    this.#channels.set(spec.name, channel);
    return channel;
  }

  #close(channel: Channel): void {
    const { spec } = channel;
    if (this.#channels.get(spec.name) !== channel) return;
    this.#channels.delete(spec.name);
    this.#left.delete(channel);
    if (spec.kind === "driver") {
      this.#unseen.delete(spec.id);
      this.#byRow.delete(channel.row);
      this.#history.forget(channel.row);
    } else if (spec.kind === "trip") {
      const hash = tripHashOf(spec.trip);
      const others = (this.#trips.get(hash) as Channel[]).filter((other) => other !== channel);
      if (others.length === 0) this.#trips.delete(hash);
      else this.#trips.set(hash, others);
    } else {
      this.#areas.remove(channel as AreaChannel);
    }
  }

  #end(channel: Channel, why: Ended): void {
    const subscribers = [...channel.subscribers];
    channel.subscribers.clear();
    this.#close(channel);
    for (const subscriber of subscribers) subscriber.ended(channel, why);
  }

  #seen(row: number, { key, keyStart, keyEnd }: LivePing): void {
    const id = Buffer.from(key.buffer, key.byteOffset + keyStart, keyEnd - keyStart).toString();
    const channel = this.#unseen.get(id);
    if (channel === undefined) return;
    this.#unseen.delete(id);
    channel.row = row;
    this.#byRow.set(row, channel);
  }

  #onDriver(row: number, ping: LivePing, partition: number, isLate: boolean): void {
    const channel = this.#byRow.get(row);
    if (channel === undefined || channel.isBroken) return;
    if (channel.partition !== partition) {
      // the topic has more partitions now: offsets of this one say nothing of the one before
      return this.#breakOff(channel);
    }
    const { value, valueStart, valueEnd, offset, received } = ping;
    this.#history.add(row, value, valueStart, valueEnd, offset, received, isLate);
    if (channel.subscribers.size > 0) this.#publish(channel, row, ping, isLate, offset + 1);
  }

  #breakOff(channel: Channel): void {
    channel.isBroken = true;
    this.#dirty.push(channel);
  }

  #onTrip(row: number, ping: LivePing, isLate: boolean): void {
    const channels = this.#trips.get(ping.tripHash);
    if (channels === undefined) return;
    const json = ping.json();
    for (const channel of channels) {
      if (channel.spec.kind !== "trip" || !isOnTrip(json, channel.spec.trip)) continue;
      this.#publish(channel, row, ping, isLate, 0);
    }
  }

  #moved(row: number, ping: LivePing, isNew: boolean): void {
    const { lat, lon, flags } = this.#drivers;
    const wasThere = !isNew && (flags[row] & STALE) === 0;
    const fromLat = lat[row];
    const fromLon = lon[row];
    const look = (channel: AreaChannel): void => {
      if (channel.seenFor === this.#pings) return;
      channel.seenFor = this.#pings;
      const was = wasThere && channel.area.contains(fromLat, fromLon);
      if (channel.area.contains(ping.lat, ping.lon)) {
        if (!was) channel.drivers++;
        this.#publish(channel, row, ping, false, 0);
      } else if (was) {
        channel.drivers--;
        this.#publishGone(channel, row, LEFT);
      }
    };
    this.#pings++;
    for (const channel of this.#areas.at(ping.lat, ping.lon)) look(channel);
    if (wasThere) for (const channel of this.#areas.at(fromLat, fromLon)) look(channel);
    for (const channel of this.#areas.wide) look(channel);
  }

  #publish(channel: Channel, row: number, ping: LivePing, isLate: boolean, offset: number): void {
    this.#add(channel, {
      kind: isLate ? LATE : POSITION,
      row,
      bytes: ping.value,
      start: ping.valueStart,
      end: ping.valueEnd,
      received: ping.received,
      offset,
    });
  }

  #publishGone(channel: Channel, row: number, kind: typeof LEFT | typeof GONE_STALE): void {
    const bytes = Buffer.from(goneData(this.#drivers.id(row), kind === LEFT ? "left" : "stale"));
    const end = bytes.byteLength;
    this.#add(channel, { kind, row, bytes, start: 0, end, received: 0, offset: 0 });
  }

  #add(channel: Channel, publication: Publication): void {
    if (channel.publications.push(publication) === 1) this.#dirty.push(channel);
  }
}

export const goneData = (id: string, how: "left" | "stale"): string =>
  `{"id":${JSON.stringify(id)},"gone":"${how}"}`;

/** `json`: without its closing brace. */
function isOnTrip(json: string, trip: string): boolean {
  return (JSON.parse(`${json}}`) as { trip?: unknown }).trip === trip;
}

const maxDrivers = ({ kind }: Channel): number =>
  kind === "bbox" ? limits.boxDriversMax : kind === "cell" ? limits.cellDriversMax : Infinity;
