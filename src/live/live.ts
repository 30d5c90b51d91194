/** Live tracking, put together: what riders, REST and the map are served from. */
import { join } from "node:path";
import type { Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import type { Channel, Subscriber } from "./channel.ts";
import type { ChannelSpec } from "./channel-name.ts";
import { Checkpoint } from "./checkpoint.ts";
import { DriverIndex } from "./driver-index.ts";
import { DriverTable, NO_ROW } from "./drivers.ts";
import { History } from "./history.ts";
import { Hub } from "./hub.ts";
import { LatestWriter } from "./latest.ts";
import type { Origin } from "./origin.ts";
import type { Positions } from "./positions.ts";
import { Recovery } from "./recovery.ts";
import { Tracker } from "./tracker.ts";

export type LiveOptions = {
  origin: Origin;
  dataDir: string;
  staleMs: number;
  registry: Registry;
  now: () => number;
  report: (line: string) => void;
};

const TICK_MS = 1000;

export class Live {
  readonly positions: Positions;
  readonly now: () => number;
  readonly drivers = new DriverTable();
  readonly index = new DriverIndex(this.drivers);
  readonly history = new History(limits.historyBytes);
  readonly hub = new Hub(this.drivers, this.index, this.history);
  readonly tracker: Tracker;
  readonly recovery: Recovery;
  readonly checkpoint: Checkpoint;
  readonly latest: LatestWriter;
  readonly #origin: Origin;
  readonly #timers: NodeJS.Timeout[];

  private constructor({ origin, dataDir, staleMs, registry, now, report }: LiveOptions) {
    const { source, positions, owns } = origin;
    this.#origin = origin;
    this.positions = positions;
    this.now = now;
    const { drivers, index, hub, history } = this;
    this.tracker = new Tracker({ source, drivers, index, hub, staleMs, now });
    const { tracker } = this;
    this.recovery = new Recovery({ positions, tracker, drivers, history, now });
    const path = join(dataDir, "live", "positions.checkpoint");
    this.checkpoint = new Checkpoint({ path, drivers, index, tracker, report });
    this.latest = new LatestWriter({ log: origin.latest, drivers, owns });
    this.#timers = [
      setInterval(() => tracker.tick(), TICK_MS),
      setInterval(() => void this.latest.write(), limits.liveSaveMs),
      setInterval(() => void this.checkpoint.saveSoon(), limits.liveSaveMs),
    ];
    measure(registry, this, owns);
  }

  /** Resolves when everybody's last position may be served; catching up goes on behind. */
  static async open(options: LiveOptions): Promise<Live> {
    const live = new Live(options);
    await live.tracker.start(live.checkpoint.load());
    return live;
  }

  /** From now on `subscriber` hears of everything; null: too many drivers there. */
  subscribe(spec: ChannelSpec, subscriber: Subscriber): Channel | null {
    return this.hub.subscribe(spec, subscriber, (id, row) => {
      const partition = this.partitionOf(id, row);
      return { partition, applied: this.tracker.partitions[partition]?.applied ?? 0 };
    });
  }

  /** Where a driver's pings are; where they would be when this log has none of it yet. */
  partitionOf(id: string, row: number): number {
    const { drivers, tracker } = this;
    if (row !== NO_ROW && drivers.offset[row] >= 0) return drivers.partition[row];
    const key = Buffer.from(id);
    return partitionOf(key, 0, key.byteLength, tracker.topic?.partitions ?? 1);
  }

  unsubscribe(channel: Channel, subscriber: Subscriber): void {
    this.hub.unsubscribe(channel, subscriber, this.now());
  }

  /** While the log is still there. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.tracker.stop();
    const timeout = setTimeout(() => this.latest.stop(), limits.liveStopMsMax);
    await this.latest.write();
    clearTimeout(timeout);
    await this.checkpoint.save();
    await this.#origin.close();
  }
}

function measure(
  registry: Registry,
  { drivers, hub, tracker, latest, now }: Live,
  owns: (partition: number) => boolean,
): void {
  const gauge = (name: string, help: string) => registry.gauge(`milepost_live_${name}`, help);
  const known = gauge("drivers", "Drivers whose last position is known");
  const channels = gauge("channels", "Channels that somebody follows");
  const lag = gauge("lag_records", "Pings committed that live tracking has not looked at");
  const lagSeconds = gauge("lag_seconds", "How far live tracking is behind, about");
  const counter = (name: string, help: string) => registry.counter(`milepost_live_${name}`, help);
  const pings = counter("pings_total", "Pings that live tracking has looked at");
  const late = counter("late_total", "Pings with an older fix than the driver's latest");
  const skipped = counter("skipped_total", "Records of positions that are no pings");
  const passed = counter("passed_over_total", "Pings that retention took before live tracking");
  const written = counter("latest_total", "Positions written to topic latest");
  const owned = gauge(
    "latest_partitions",
    "Partitions whose drivers are written to topic latest here",
  );
  const silent = gauge("silent_seconds", "For how long the cluster has told nothing; 0: it does");
  registry.onSnapshot(() => {
    written.value = latest.written;
    owned.value = tracker.partitions.filter((_, partition) => owns(partition)).length;
    silent.value = tracker.silentMs / 1000;
    known.value = drivers.count;
    channels.value = hub.channels;
    lag.value = tracker.lag;
    lagSeconds.value = tracker.lagMs(now()) / 1000;
    pings.value = tracker.counts.pings;
    late.value = tracker.counts.late;
    skipped.value = tracker.counts.skipped;
    passed.value = tracker.counts.passedOver;
  });
}
