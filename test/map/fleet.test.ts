import fc from "fast-check";
import { expect, it } from "vitest";
import { alphaAt, FADE_AFTER_MS, Fleet } from "../../src/map/fleet.ts";
import { turn } from "../../src/map/glide.ts";
import type { Ping } from "../../src/map/ping.ts";

const ping = (ts: number, lon: number, more: Partial<Ping> = {}): Ping => ({
  id: "a",
  ts,
  lat: 10,
  lon,
  received: ts,
  ...more,
});

it("a marker glides from where it is seen to the new fix, and stops there", () => {
  const fleet = new Fleet();
  fleet.put(ping(1000, 20), 0, true);
  fleet.put(ping(2000, 20.01), 1000, true);
  const seen = [1000, 1300, 1600, 1900, 9000].map((ms) => fleet.placeOf("a", ms)?.[0] ?? 0);
  expect(seen[0]).toBe(20);
  expect(seen.toSorted((a, b) => a - b)).toEqual(seen);
  expect(new Set(seen).size).toBe(5);
  expect(seen[4]).toBe(20.01);
});

it("a device's clock that was ahead and is set right freezes no marker", () => {
  const fleet = new Fleet();
  fleet.put(ping(3_600_000, 20, { received: 1000 }), 0, false);
  expect(fleet.put(ping(2000, 21, { received: 2000 }), 1000, false)).toBe(true);
  expect(fleet.placeOf("a", 1000)).toEqual([21, 10]);
  expect(fleet.put(ping(2000, 21, { received: 2000 }), 1000, false)).toBe(false);
});

it("never jumps, whenever fixes arrive, and never goes back for a late one", () => {
  const fix = fc.record({ wait: fc.integer({ min: 0, max: 5000 }), late: fc.boolean() });
  fc.assert(
    fc.property(fc.array(fix, { minLength: 1, maxLength: 30 }), (fixes) => {
      const fleet = new Fleet();
      let [nowMs, lon, ts] = [0, 20, 1_000_000];
      fleet.put(ping(ts, lon), nowMs, true);
      for (const { wait, late } of fixes) {
        nowMs += wait;
        const before = fleet.placeOf("a", nowMs) as [number, number];
        if (late) fleet.put(ping(ts - 500, 5, { late: true }), nowMs, true);
        else fleet.put(ping((ts += 1000), (lon += 0.001)), nowMs, true);
        const after = fleet.placeOf("a", nowMs) as [number, number];
        expect(after[0]).toBeCloseTo(before[0], 9);
        expect(fleet.placeOf("a", nowMs + 1)?.[0]).toBeGreaterThanOrEqual(before[0] - 1e-9);
      }
      expect(fleet.placeOf("a", nowMs + 60_000)?.[0]).toBe(lon);
    }),
  );
});

it("without animation, or far away, it is at the fix at once", () => {
  const fleet = new Fleet();
  fleet.put(ping(1000, 20), 0, false);
  fleet.put(ping(2000, 20.01), 1000, false);
  expect(fleet.placeOf("a", 1000)).toEqual([20.01, 10]);
  fleet.put(ping(3000, 40), 2000, true);
  expect(fleet.placeOf("a", 2000)).toEqual([40, 10]);
});

it("headings turn the shorter way", () => {
  expect(turn(350, 10)).toBe(20);
  expect(turn(10, 350)).toBe(-20);
  expect(Math.abs(turn(0, 180))).toBe(180);
});

it("who is not in a snapshot goes, but for the selected one", () => {
  const fleet = new Fleet();
  for (const id of ["a", "b", "c"]) fleet.put({ ...ping(1, 1), id }, 0, true);
  fleet.beginSnapshot();
  fleet.put({ ...ping(1, 1), id: "b" }, 0, true);
  fleet.endSnapshot("c");
  expect([...fleet.ids()]).toEqual(["b", "c"]);
});

it("draws the selected driver above the others, or alone", () => {
  const fleet = new Fleet();
  for (const id of ["a", "b", "c"]) fleet.put({ ...ping(1, 1), id }, 0, true);
  const drawn = (options: object) => {
    const { ids, count } = fleet.draw(0, 0, options);
    return ids.slice(0, count);
  };
  expect(drawn({})).toEqual(["a", "b", "c"]);
  expect(drawn({ top: "a" })).toEqual(["b", "c", "a"]);
  expect(drawn({ top: "b", alone: true })).toEqual(["b"]);
  expect(drawn({ alone: true })).toEqual([]);
});

it("fades who has not been heard of, never to nothing", () => {
  expect(alphaAt(0)).toBe(1);
  expect(alphaAt(FADE_AFTER_MS)).toBe(1);
  expect(alphaAt(2 * FADE_AFTER_MS)).toBeLessThan(1);
  expect(alphaAt(1e9)).toBeGreaterThan(0.2);
});
