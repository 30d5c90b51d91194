import { expect, test } from "vitest";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { DriverTable } from "../../src/live/drivers.ts";
import { Fleet } from "../../src/live/fleet.ts";
import { History } from "../../src/live/history.ts";
import { Hub } from "../../src/live/hub.ts";
import type { Live } from "../../src/live/live.ts";
import { parseChannel, type ChannelSpec } from "../../src/live/channel-name.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { Pacer } from "../../src/riders/pacer.ts";
import type { Start } from "../../src/riders/protocol.ts";
import { StreamMetrics } from "../../src/riders/stream-metrics.ts";
import { type Outlet, Subscription } from "../../src/riders/subscription.ts";
import { livePing } from "../live/fixture.ts";

test("of a frame that the reader knows in part, it gets the rest, each of it", () => {
  const drivers = new DriverTable();
  const index = new DriverIndex(drivers);
  const hub = new Hub(drivers, index, new History(10_000));
  const fleet = new Fleet({ drivers, index, hub, staleMs: 1000 }, { pings: 0, late: 0 });
  const ping = (offset: number): void => {
    const value = { id: "a", ts: 1000 + offset, lat: 1, lon: offset };
    fleet.take(livePing(value, 1000 + offset, offset), 0);
  };
  const live = {
    drivers,
    hub,
    recovery: { end: () => ({ epoch: "0.x", offset: drivers.offset[0] + 1 }) },
    subscribe: (spec: ChannelSpec, subscriber: Subscription) =>
      hub.subscribe(spec, subscriber, () => ({ partition: 0, applied: 4 })),
  } as unknown as Live;
  const metrics = new StreamMetrics(new Registry(), drivers, "websocket");
  const lines: string[] = [];
  const outlet: Outlet = {
    isSlow: false,
    frame: (_, { bytes, data, publications }) => {
      lines.push(...Buffer.from(bytes).toString().split("\n"));
      for (const i of publications.keys()) {
        const text = Buffer.from(bytes).toString("utf8", data[2 * i], data[2 * i + 1]);
        expect(JSON.parse(text).id).toBe("a");
      }
    },
    due: () => lines.push("due"),
    ended: () => lines.push("ended"),
  };
  // a checkpoint may know of pings that are still to be read again
  ping(5);
  const options = { interval: 0, newestOnly: false };
  const services = { live, metrics, pacer: new Pacer(() => {}) };
  const spec = parseChannel("driver:a") as ChannelSpec;
  const subscription = Subscription.open(services, outlet, options, spec) as Subscription;
  const starts: Start[] = [];
  subscription.begin(null, (start) => starts.push(start));
  expect(starts[0].position?.offset).toBe(6);
  for (let offset = 4; offset <= 7; offset++) ping(offset);
  hub.flush();
  const offsets = lines.map((line) => JSON.parse(line).push.pub.offset);
  expect(offsets).toEqual([7, 8]);
});
