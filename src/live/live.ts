/** Live tracking, put together: what riders, REST and the map are served from. */
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import type { Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { partitionOf } from "../partitions/murmur2.ts";
import type { Channel, Subscriber } from "./channel.ts";
import type { ChannelSpec } from "./channel-name.ts";
import { DriverIndex } from "./driver-index.ts";
import { DriverTable } from "./drivers.ts";
import { History } from "./history.ts";
import { Hub } from "./hub.ts";
import { Recovery } from "./recovery.ts";
import { Tracker } from "./tracker.ts";

export type LiveOptions = {
  log: LogPort;
  reader: LogReader;
  dataDir: string;
  staleMs: number;
  registry: Registry;
  now: () => number;
  report: (line: string) => void;
};

const TICK_MS = 1000;

export class Live {
  readonly log: LogPort;
  readonly now: () => number;
  readonly drivers = new DriverTable();
  readonly index = new DriverIndex(this.drivers);
  readonly history = new History(limits.historyBytes);
  readonly hub = new Hub(this.drivers, this.index, this.history);
  readonly tracker: Tracker;
  readonly recovery: Recovery;
  readonly #tick: NodeJS.Timeout;

  private constructor({ log, reader, staleMs, registry, now, report }: LiveOptions) {
    this.log = log;
    this.now = now;
    const { drivers, index, hub, history } = this;
    this.tracker = new Tracker({ log, reader, drivers, index, hub, staleMs, now, report });
    const { tracker } = this;
    const partition = (id: string): number => this.#partitionOf(id);
    this.recovery = new Recovery({ reader, tracker, drivers, history, now, partitionOf: partition });
    this.#tick = setInterval(() => tracker.tick(), TICK_MS);
    measure(registry, this);
  }

  static async open(options: LiveOptions): Promise<Live> {
    const live = new Live(options);
    await live.tracker.start(null);
    return live;
  }

  /** From now on `subscriber` hears of everything; null: too many drivers there. */
  subscribe(spec: ChannelSpec, subscriber: Subscriber): Channel | null {
    return this.hub.subscribe(spec, subscriber, (id) => {
      return this.tracker.partitions[this.#partitionOf(id)]?.applied ?? 0;
    });
  }

  unsubscribe(channel: Channel, subscriber: Subscriber): void {
    this.hub.unsubscribe(channel, subscriber, this.now());
  }

  close(): void {
    clearInterval(this.#tick);
    this.tracker.stop();
  }

  #partitionOf(id: string): number {
    const key = Buffer.from(id);
    return partitionOf(key, 0, key.byteLength, this.tracker.topic?.partitions ?? 1);
  }
}

function measure(registry: Registry, { drivers, hub, tracker, now }: Live): void {
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
  registry.onSnapshot(() => {
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
