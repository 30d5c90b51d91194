import fc from "fast-check";
import { expect, it } from "vitest";
import { Trail } from "../../src/map/trail.ts";

const fix = (ts: number, lon = ts / 1e8) => ({ ts, lon, lat: 0 });

it("is in the order of the fixes, each once, however they come", () => {
  const times = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 40 });
  fc.assert(
    fc.property(times, times, (live, track) => {
      const trail = new Trail();
      for (const ts of live) trail.add(fix(ts));
      trail.addTrack(track.map((ts) => fix(ts)));
      const expected = [...new Set([...live, ...track])].toSorted((a, b) => a - b);
      expect(trail.fixes.map(({ ts }) => ts)).toEqual(expected);
    }),
  );
});

it("is one line until nothing is heard for minutes, and an hour long", () => {
  const trail = new Trail();
  const minute = 60_000;
  for (const minutes of [0, 1, 2, 20, 21, 70]) trail.add(fix(minutes * minute));
  expect(trail.lines().map((line) => line.map(({ ts }) => ts / minute))).toEqual([
    [0, 1, 2],
    [20, 21],
  ]);
  trail.add({ ts: 1.5 * minute, lon: 3, lat: 0 });
  const lines = trail.lines().map((line) => line.map(({ ts }) => ts / minute));
  expect(lines, "nobody drives so fast").toEqual([
    [0, 1],
    [20, 21],
  ]);
  trail.fixes.splice(2, 1);
  trail.trim();
  expect(trail.fixes.map(({ ts }) => ts / minute)).toEqual([20, 21, 70]);
});

it("knows how far and how fast", () => {
  const trail = new Trail();
  // a degree at the equator is 111 195 m
  for (let s = 0; s <= 100; s++) trail.add({ ts: s * 1000, lon: (s * 10) / 111_195, lat: 0 });
  expect(trail.metres()).toBeCloseTo(1000, 3);
  const speeds = trail.speeds(10);
  expect(speeds).toHaveLength(10);
  for (const speed of speeds) expect(speed).toBeCloseTo(10, 6);
});
