import { describe, expect, test } from "vitest";
import { City, speedLimits } from "../../devices/city.ts";
import { Drivers } from "../../devices/drivers.ts";
import type { Fix } from "../../devices/drivers.ts";

const city = new City("blr");
const startMs = 1_792_000_000_000;

function metresBetween(a: Fix, b: Fix): number {
  const y = (b.lat - a.lat) * 111_195;
  const x = (b.lon - a.lon) * 111_195 * Math.cos((a.lat * Math.PI) / 180);
  return Math.hypot(x, y);
}

type Seen = Fix & { trip: number; radio: boolean };

/** Drives for a while and gives back each driver's fixes. */
function drive(options: { count: number; seed: number; steps: number; seconds: number }): Seen[][] {
  const { count, seed, steps, seconds } = options;
  const drivers = new Drivers(city, { count, seed, startMs });
  const seen: Seen[][] = Array.from({ length: count }, () => []);
  for (let step = 1; step <= steps; step++) {
    const nowMs = startMs + step * seconds * 1000;
    for (let i = 0; i < count; i++) {
      drivers.advance(i, seconds, nowMs);
      const fix = { ...drivers.read(i, nowMs) };
      seen[i].push({ ...fix, trip: drivers.tripStarted[i], radio: !drivers.inTunnel(i) });
    }
  }
  return seen;
}

test("a seed makes the same drivers, another seed others", () => {
  const options = { count: 20, seed: 7, steps: 200, seconds: 1 };
  const once = drive(options);
  expect(drive(options)).toEqual(once);
  expect(drive({ ...options, seed: 8 })).not.toEqual(once);
});

test("a driver is the same in a larger fleet", () => {
  const few = drive({ count: 3, seed: 7, steps: 100, seconds: 1 });
  const many = drive({ count: 30, seed: 7, steps: 100, seconds: 1 });
  expect(many.slice(0, 3)).toEqual(few);
});

describe.each([
  { hz: 10, steps: 1500 },
  { hz: 1, steps: 1500 },
  { hz: 0.1, steps: 300 },
])("at $hz Hz", ({ hz, steps }) => {
  const fleet = drive({ count: 60, seed: 3, steps, seconds: 1 / hz });
  const all = fleet.flat();

  test("nobody leaves the city or drives faster than its fastest street allows", () => {
    const { plan } = city;
    const { south, north, west, east } = plan;
    const off = all.filter((f) => f.lat < south || f.lat > north || f.lon < west || f.lon > east);
    expect(off).toEqual([]);
    expect(all.filter((f) => f.speed < 0 || f.speed > speedLimits[0] + 1)).toEqual([]);
  });

  test("every field is in the contract's range", () => {
    const bad = all.filter(
      (f) =>
        !(f.heading >= 0 && f.heading < 360 && f.accuracy > 0 && f.accuracy < 100) ||
        !(f.battery >= 0 && f.battery <= 1 && f.altitude > 800 && f.altitude < 1000),
    );
    expect(bad).toEqual([]);
  });

  test("a driver's time goes forward and it never jumps", () => {
    const odd = fleet.flatMap((track) =>
      track.filter((fix, k) => {
        if (k === 0) return false;
        const seconds = (fix.ts - track[k - 1].ts) / 1000;
        // 300 km/h, over a second at least: what the gateway would flag as a jump.
        const metres = metresBetween(track[k - 1], fix);
        return seconds <= 0 || metres / Math.max(seconds, 1) > 300 / 3.6;
      }),
    );
    expect(odd).toEqual([]);
  });
});

test("the distance covered agrees with the speed told", () => {
  for (const track of drive({ count: 40, seed: 5, steps: 600, seconds: 1 })) {
    const told = track.reduce((sum, fix) => sum + fix.speed, 0);
    // Every tenth fix, so that noise and corners count for little.
    const tenth = track.filter((_, k) => k % 10 === 0);
    let covered = 0;
    for (let k = 1; k < tenth.length; k++) covered += metresBetween(tenth[k - 1], tenth[k]);
    expect(covered).toBeLessThan(1.15 * told + 400);
    expect(covered).toBeGreaterThan(0.75 * told - 400);
  }
});

test("trips begin and end, drivers stop at junctions, pass tunnels and charge", () => {
  const fleet = drive({ count: 60, seed: 4, steps: 3600, seconds: 1 });
  const trips = fleet.map((track) => new Set(track.map((fix) => fix.trip)).size);
  expect(Math.max(...trips)).toBeGreaterThan(2);
  const all = fleet.flat();
  const share = (wanted: (fix: Seen) => boolean) => all.filter(wanted).length / all.length;
  expect(share((fix) => fix.trip === 0)).toBeGreaterThan(0.01);
  expect(share((fix) => fix.trip !== 0 && fix.speed === 0)).toBeGreaterThan(0.05);
  expect(share((fix) => fix.trip !== 0)).toBeGreaterThan(0.7);
  const charged = fleet.some((track) => track.some((f, k) => f.battery > track[k - 1]?.battery));
  expect(charged).toBe(true);
  const tunnels: number[] = [];
  for (const track of fleet) {
    let gap = 0;
    for (const fix of track) {
      if (!fix.radio) gap++;
      else if (gap > 0) gap = (tunnels.push(gap), 0);
    }
  }
  expect(tunnels.length).toBeGreaterThan(30);
  expect(Math.max(...tunnels)).toBeGreaterThan(5);
  expect(Math.max(...tunnels)).toBeLessThan(150);
});

test("clocks differ a little between drivers and drift slowly", () => {
  const fleet = drive({ count: 50, seed: 1, steps: 600, seconds: 1 });
  const offsets = fleet.map((track) => track[0].ts - (startMs + 1000));
  expect(new Set(offsets).size).toBeGreaterThan(40);
  for (const offset of offsets) expect(Math.abs(offset)).toBeLessThan(3000);
  const drifts = fleet.map((track) => track[599].ts - track[0].ts - 599_000);
  for (const drift of drifts) expect(Math.abs(drift)).toBeLessThan(60);
  expect(drifts.some((drift) => drift !== 0)).toBe(true);
});
