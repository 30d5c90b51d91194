import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DriverMemory, metresBetween } from "../../src/codec/driver-memory.ts";
import { now } from "./read.ts";

type Fix = { ts: number; lat: number; lon: number };
const speedMax = 300 / 3.6;

function sees(memory: DriverMemory, driver: string, fix: Fix, identity?: Uint8Array): boolean {
  const key = Buffer.from(`..${driver}..`);
  const { ts, lat, lon } = fix;
  const jump = memory.jump(identity ?? null, key, 2, key.length - 2, ts, lat, lon);
  memory.keep(ts, lat, lon);
  return jump;
}

test("the distance of known places", () => {
  expect(metresBetween(0, 0, 0, 180)).toBeCloseTo(20_015_115, -1);
  expect(metresBetween(52.52, 13.405, 48.8566, 2.3522)).toBeCloseTo(877_464, -2);
  expect(metresBetween(12.97, 179.999, 12.97, -179.999)).toBeLessThan(220);
});

describe("the pre-check decides as the distance does", () => {
  const near = fc.record({
    lat: fc.double({ min: -90, max: 90, noNaN: true }),
    lon: fc.double({ min: -180, max: 180, noNaN: true }),
    dLat: fc.double({ min: -0.01, max: 0.01, noNaN: true }),
    dLon: fc.double({ min: -0.01, max: 0.01, noNaN: true }),
    ms: fc.integer({ min: -10_000, max: 10_000 }),
  });
  test("for any two fixes", () => {
    fc.assert(
      fc.property(near, ({ lat, lon, dLat, dLon, ms }) => {
        const memory = new DriverMemory();
        const to = { ts: now + ms, lat: lat + dLat, lon: lon + dLon };
        sees(memory, "d", { ts: now, lat, lon });
        const metres = metresBetween(lat, lon, to.lat, to.lon);
        const expected = metres / Math.max(Math.abs(ms) / 1000, 1) > speedMax;
        expect(sees(memory, "d", to)).toBe(expected);
      }),
      { numRuns: 5000 },
    );
  });
  test("across the antimeridian", () => {
    const memory = new DriverMemory();
    sees(memory, "d", { ts: now, lat: 10, lon: 179.9999 });
    expect(sees(memory, "d", { ts: now + 1000, lat: 10, lon: -179.9999 })).toBe(false);
  });
});

test("many drivers on one connection are told apart", () => {
  const memory = new DriverMemory();
  const drivers = Array.from({ length: 500 }, (_, i) => `driver-${i}`);
  const fix = (i: number, step: number): Fix => ({
    ts: now + step * 1000,
    lat: (i % 170) - 85 + step * 1e-4,
    lon: i / 5,
  });
  for (const [i, driver] of drivers.entries()) sees(memory, driver, fix(i, 0));
  for (let step = 1; step < 20; step++) {
    for (const [i, driver] of drivers.entries()) {
      expect(sees(memory, driver, fix(i, step))).toBe(false);
    }
  }
  let jumps = 0;
  for (const [i, driver] of drivers.entries()) {
    if (sees(memory, driver, { ...fix(i, 20), lon: 170 })) jumps++;
  }
  // A few were forgotten where too many fell on the same rows.
  expect(jumps).toBeGreaterThan(450);
});

test("more drivers than are remembered: no false jumps", () => {
  const memory = new DriverMemory();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20_000; i++) {
      const fix = { ts: now + round, lat: (i % 180) - 90, lon: (i % 360) - 180 };
      expect(sees(memory, `d${i}`, fix)).toBe(false);
    }
  }
});

test("a sender's identity and the key say the same driver", () => {
  const memory = new DriverMemory();
  const [one, two] = [Buffer.from("one"), Buffer.from("two")];
  const far = { ts: now, lat: 50, lon: 50 };
  expect(sees(memory, "one", { ts: now, lat: 1, lon: 1 }, one)).toBe(false);
  expect(sees(memory, "two", far, two)).toBe(false);
  expect(sees(memory, "one", { ts: now, lat: 1, lon: 1 }, one)).toBe(false);
  expect(sees(memory, "one", { ts: now, lat: 1, lon: 1 })).toBe(false);
  expect(sees(memory, "two", far, Buffer.from("two"))).toBe(false);
  expect(sees(memory, "one", far, one)).toBe(true);
});

test("a fix that was not kept does not count", () => {
  const memory = new DriverMemory();
  for (const driver of ["a", "b"]) {
    const key = Buffer.from(driver);
    expect(memory.jump(null, key, 0, 1, now, 1, 1)).toBe(false);
    expect(sees(memory, driver, { ts: now, lat: 50, lon: 50 })).toBe(false);
    expect(sees(memory, driver, { ts: now, lat: 1, lon: 1 })).toBe(true);
  }
});
