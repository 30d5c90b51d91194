import { latLngToCell } from "h3-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isInBox } from "../../src/live/area.ts";
import type { Channel, Ended, Subscriber } from "../../src/live/channel.ts";
import { parseChannel, type ChannelSpec } from "../../src/live/channel-name.ts";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { DriverTable, STALE } from "../../src/live/drivers.ts";
import { Fleet } from "../../src/live/fleet.ts";
import { History } from "../../src/live/history.ts";
import { Hub } from "../../src/live/hub.ts";
import type { Frame } from "../../src/live/publication.ts";
import { limits } from "../../src/model/limits.ts";
import { livePing, type TestPing } from "./fixture.ts";

const STALE_MS = 1000;
const cell = latLngToCell(12.97, 77.59, 7);
const names = [
  "driver:a",
  "driver:b",
  "driver:never",
  "trip:t1",
  "trip:t2",
  `cell:${cell}`,
  "bbox:77.58,12.96,77.6,12.98",
  "bbox:77,12,78,13.5",
  "bbox:-180,-90,180,90",
  "bbox:179.9,12,-179.9,13",
];

class TestFleet {
  readonly drivers = new DriverTable();
  readonly index = new DriverIndex(this.drivers);
  readonly history = new History(100_000);
  readonly hub = new Hub(this.drivers, this.index, this.history);
  readonly counts = { pings: 0, late: 0 };
  readonly fleet = new Fleet({ ...this, staleMs: STALE_MS }, this.counts);
  offset = 0;

  /** Whether it was late. */
  ping(ping: TestPing, received: number, partition = 0): boolean {
    const { late } = this.counts;
    this.fleet.take(livePing(ping, received, this.offset++), partition);
    return this.counts.late > late;
  }

  /** Who has gone. */
  tick(now: number): string[] {
    const stale = (): string[] =>
      [...this.drivers.flags.subarray(0, this.drivers.rows).keys()]
        .filter((row) => (this.drivers.flags[row] & STALE) !== 0)
        .map((row) => this.drivers.id(row));
    const before = new Set(stale());
    this.fleet.tick(now);
    return stale().filter((id) => !before.has(id));
  }

  subscribe(name: string, subscriber: Subscriber): Channel | null {
    const spec = parseChannel(name) as ChannelSpec;
    return this.hub.subscribe(spec, subscriber, () => ({ partition: 0, applied: this.offset }));
  }
}

type Heard = Record<string, unknown> & { id: string };

class Listener implements Subscriber {
  readonly heard: Heard[] = [];
  readonly endings: Ended[] = [];

  publish(channel: Channel, { bytes, data, publications }: Frame): void {
    const lines = Buffer.from(bytes).toString().split("\n");
    expect(lines.length).toBe(publications.length);
    for (const [i, line] of lines.entries()) {
      const { push } = JSON.parse(line) as {
        push: { channel: string; pub: { data: Heard; offset?: number } };
      };
      expect(push.channel).toBe(channel.name);
      const range = Buffer.from(bytes.subarray(data[2 * i], data[2 * i + 1])).toString();
      expect(JSON.parse(range)).toEqual(push.pub.data);
      const { offset } = push.pub;
      expect(offset !== undefined).toBe(channel.kind === "driver");
      this.heard.push({ ...push.pub.data, ...(offset === undefined ? {} : { offset }) });
    }
  }

  ended(_: Channel, why: Ended): void {
    this.endings.push(why);
  }
}

type Known = { ping: TestPing; received: number; isStale: boolean };

function isIn(name: string, { lat, lon }: TestPing): boolean {
  if (name.startsWith("cell:")) return latLngToCell(lat, lon, 7) === cell;
  const [west, south, east, north] = name.slice(5).split(",").map(Number);
  return isInBox({ west, south, east, north }, lat, lon);
}

/** What the follower of a channel hears of a ping. */
function toldOf(
  name: string,
  ping: TestPing,
  received: number,
  isLate: boolean,
  before: Known | undefined,
  offset: number,
): Heard[] {
  const told: Heard = { ...ping, received, ...(isLate ? { late: true } : {}) };
  if (name.startsWith("driver:")) {
    return name === `driver:${ping.id}` ? [{ ...told, offset: offset + 1 }] : [];
  }
  if (name.startsWith("trip:")) return name === `trip:${ping.trip as string}` ? [told] : [];
  if (isLate) return [];
  if (isIn(name, ping)) return [told];
  const was = before !== undefined && !before.isStale && isIn(name, before.ping);
  return was ? [{ id: ping.id, gone: "left" }] : [];
}

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("ping" as const),
      id: fc.constantFrom("a", "b", "c", 'd"'),
      back: fc.oneof(fc.constant(0), fc.nat(800)),
      lat: fc.oneof(
        fc.double({ min: 12.95, max: 12.99, noNaN: true }),
        fc.double({ min: -90, max: 90, noNaN: true }),
      ),
      lon: fc.oneof(
        fc.double({ min: 77.57, max: 77.61, noNaN: true }),
        fc.double({ min: -180, max: 180, noNaN: true }),
      ),
      trip: fc.constantFrom(undefined, "t1", "t2"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("flush" as const), ms: fc.nat(400) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("tick" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("join" as const), name: fc.constantFrom(...names) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("leave" as const), who: fc.nat(20) }) },
);

test("a snapshot, and from there on what a model says: no gap, no repetition", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const fleet = new TestFleet();
      const known = new Map<string, Known>();
      const followers: { channel: Channel; listener: Listener; expected: Heard[] }[] = [];
      let now = 10_000;
      const flush = (): void => {
        fleet.hub.flush();
        for (const { channel, listener, expected } of followers) {
          expect(listener.heard).toEqual(expected);
          if (!("area" in channel.spec)) continue;
          const inside = [...known.values()].filter(
            (k) => !k.isStale && isIn(channel.name, k.ping),
          );
          expect(channel.drivers).toBe(inside.length);
        }
      };
      for (const s of steps) {
        if (s.kind === "ping") {
          const { id, lat, lon, trip } = s;
          const ts = now - s.back;
          const ping: TestPing = { id, ts, lat: lat + 0, lon: lon + 0, ...(trip && { trip }) };
          const before = known.get(id);
          const { offset } = fleet;
          const isLate = fleet.ping(ping, now);
          expect(isLate).toBe(before !== undefined && ts < before.ping.ts);
          for (const { channel, expected } of followers) {
            expected.push(...toldOf(channel.name, ping, now, isLate, before, offset));
          }
          if (!isLate) known.set(id, { ping, received: now, isStale: false });
        } else if (s.kind === "tick") {
          const silent = [...known.values()].filter((k) => k.received < now - STALE_MS);
          const gone = fleet.tick(now);
          const newly = silent.filter((k) => !k.isStale).map((k) => k.ping.id);
          expect(new Set(gone)).toEqual(new Set(newly));
          for (const id of gone) {
            const last = known.get(id) as Known;
            last.isStale = true;
            for (const { channel, expected } of followers) {
              if (!("area" in channel.spec) || !isIn(channel.name, last.ping)) continue;
              expected.push({ id, gone: "stale" });
            }
          }
          flush();
        } else if (s.kind === "flush") {
          flush();
          now += s.ms;
        } else if (s.kind === "join") {
          // a turn has ended before anybody comes
          flush();
          const listener = new Listener();
          const channel = fleet.subscribe(s.name, listener) as Channel;
          followers.push({ channel, listener, expected: [] });
          const rows = fleet.hub.rowsOf(channel);
          const snapshot = rows.map((row) => JSON.parse(`${fleet.drivers.json(row)}}`) as TestPing);
          const expected = [...known.values()].filter(({ ping, isStale }) => {
            if (s.name.startsWith("driver:")) return s.name === `driver:${ping.id}`;
            if (isStale) return false;
            if (s.name.startsWith("trip:")) return s.name === `trip:${ping.trip as string}`;
            return isIn(s.name, ping);
          });
          const byId = (a: TestPing, b: TestPing): number => (a.id < b.id ? -1 : 1);
          expect(snapshot.sort(byId)).toEqual(expected.map((k) => k.ping).sort(byId));
        } else if (followers.length > 0) {
          flush();
          const [{ channel, listener }] = followers.splice(s.who % followers.length, 1);
          fleet.hub.unsubscribe(channel, listener, now);
        }
      }
      flush();
      for (const { channel, listener } of followers) fleet.hub.unsubscribe(channel, listener, now);
      expect(fleet.hub.channels).toBe(0);
    }),
    { numRuns: 300 },
  );
});

const at = (id: string, ts: number, rest = {}): TestPing => ({ id, ts, lat: 1, lon: 1, ...rest });

test("the history of a driver that was left is kept for a while, and no longer", () => {
  const fleet = new TestFleet();
  const listener = new Listener();
  fleet.ping(at("a", 1), 1);
  const channel = fleet.subscribe("driver:a", listener) as Channel;
  fleet.hub.unsubscribe(channel, listener, 1000);
  fleet.ping(at("a", 2), 2);
  expect(fleet.history.since(channel.row, 0, 10).entries.map((e) => e.offset)).toEqual([1]);
  fleet.hub.sweep(999 + limits.channelLeftMsMax);
  expect(fleet.subscribe("driver:a", listener)).toBe(channel);
  fleet.hub.unsubscribe(channel, listener, 1000);
  fleet.hub.sweep(1000 + limits.channelLeftMsMax);
  expect(fleet.history.since(channel.row, 0, 10).entries).toEqual([]);
  expect(fleet.subscribe("driver:a", listener)).not.toBe(channel);
});

test("a driver that goes on in another partition begins another stream", () => {
  const fleet = new TestFleet();
  const listener = new Listener();
  const channel = fleet.subscribe("driver:a", listener) as Channel;
  fleet.ping(at("a", 1), 1);
  fleet.ping(at("a", 2), 2, 3);
  fleet.ping(at("a", 3), 3, 3);
  fleet.hub.flush();
  expect(listener.heard.map((h) => h.ts)).toEqual([1]);
  expect(listener.endings).toEqual(["topic_changed"]);
  expect(fleet.hub.channels).toBe(0);
  expect(fleet.history.since(channel.row, 0, 10).entries).toEqual([]);
});

test("too many drivers in an area: none at first, and no more when they come", () => {
  const fleet = new TestFleet();
  const [listener, other] = [new Listener(), new Listener()];
  const name = "bbox:0,0,2,2";
  for (let i = 0; i < limits.boxDriversMax; i++) fleet.ping(at(`d${i}`, 1), 1);
  const channel = fleet.subscribe(name, listener) as Channel;
  expect(fleet.hub.rowsOf(channel).length).toBe(limits.boxDriversMax);
  expect(fleet.subscribe("driver:d1", other)).not.toBeNull();
  fleet.ping(at("one more", 1), 1);
  fleet.ping(at("d1", 2), 2);
  fleet.hub.flush();
  expect(listener.endings).toEqual(["too_many_drivers"]);
  expect(other.heard.length).toBe(1);
  expect(fleet.subscribe(name, listener)).toBeNull();
  fleet.ping(at("one more", 3, { lat: 50 }), 3);
  expect(fleet.subscribe(name, listener)).not.toBeNull();
});

test("channels and areas of all riders together are bounded, and room comes back", () => {
  const fleet = new TestFleet();
  const listener = new Listener();
  const fill = (nameOf: (i: number) => string): Channel[] => {
    const channels: Channel[] = [];
    for (;;) {
      const channel = fleet.subscribe(nameOf(channels.length), listener);
      if (channel === null) return channels;
      channels.push(channel);
    }
  };
  const wide = fill((i) => `bbox:-90,-80,90,${i / 1000}`);
  expect(wide.length).toBe(limits.wideAreasMax);
  const states = fill((i) => `bbox:10,${i / 1000},12.9,${(i / 1000 + 2.9).toFixed(3)}`);
  expect(states.length).toBeGreaterThan(limits.areaSquaresMax / 4096);
  expect(states.length).toBeLessThan(limits.areaSquaresMax / 3000);
  const drivers = fill((i) => `driver:d${i}`);
  expect(wide.length + states.length + drivers.length).toBe(limits.channelsMax);
  // those that are there may be followed by others
  expect(fleet.subscribe(wide[0].name, new Listener())).toBe(wide[0]);
  for (const channel of [...states, ...drivers]) fleet.hub.unsubscribe(channel, listener, 1);
  expect(fleet.subscribe("bbox:10,10,12.9,12.9", listener)).not.toBeNull();
});

test("whoever leaves when it is told the most does not leave twice", () => {
  const fleet = new TestFleet();
  const name = "bbox:0,0,2,2";
  for (let i = 0; i < limits.boxDriversMax; i++) fleet.ping(at(`d${i}`, 1), 1);
  const leaver = new Listener();
  leaver.publish = (channel) => fleet.hub.unsubscribe(channel, leaver, 1);
  fleet.subscribe(name, leaver);
  fleet.ping(at("one more", 1), 1);
  fleet.hub.flush();
  expect(leaver.endings).toEqual([]);
  // areas are still counted as they are
  fleet.ping(at("one more", 3, { lat: 50 }), 3);
  const listener = new Listener();
  fleet.subscribe(name, listener);
  fleet.ping(at("d1", 4), 4);
  fleet.hub.flush();
  expect(listener.heard.map((h) => h.id)).toEqual(["d1"]);
});

test("when the topic is another, everybody is told, and may come back at once", () => {
  const fleet = new TestFleet();
  const again = new Listener();
  const listener = new Listener();
  listener.ended = (channel, why) => {
    listener.endings.push(why);
    fleet.subscribe(channel.name, again);
  };
  for (const name of names) fleet.subscribe(name, listener);
  fleet.ping(at("a", 1, { trip: "t1" }), 1);
  fleet.hub.reset();
  expect(listener.endings).toEqual(names.map(() => "topic_changed"));
  expect(again.endings).toEqual([]);
  expect(fleet.hub.channels).toBe(names.length);
  fleet.hub.flush();
  fleet.ping(at("a", 2, { trip: "t1" }), 2);
  fleet.hub.flush();
  expect(listener.heard).toEqual([]);
  // by its id, by its trip, and on earth
  expect(again.heard.map((h) => h.ts)).toEqual([2, 2, 2]);
});
