import fc from "fast-check";
import { expect, test } from "vitest";
import { type Area, BoxArea } from "../../src/live/area.ts";
import { DriverIndex } from "../../src/live/driver-index.ts";

const lat = fc.oneof(
  { weight: 4, arbitrary: fc.double({ min: 12, max: 12.2, noNaN: true }) },
  { weight: 2, arbitrary: fc.double({ min: -90, max: 90, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(-90, 90, 89.9999, -89.9999, 0) },
);
const lon = fc.oneof(
  { weight: 4, arbitrary: fc.double({ min: 77, max: 77.2, noNaN: true }) },
  { weight: 2, arbitrary: fc.double({ min: -180, max: 180, noNaN: true }) },
  { weight: 2, arbitrary: fc.constantFrom(-180, 180, 179.9999, -179.9999, 0) },
);
const point = fc.record({ lat, lon });
const moves = fc.array(fc.record({ row: fc.nat(400), lat, lon, isGone: fc.nat(9) }), {
  maxLength: 400,
});

function indexOf(steps: { row: number; lat: number; lon: number; isGone: number }[]) {
  const positions = { lat: new Float64Array(512), lon: new Float64Array(512), capacity: 512 };
  const index = new DriverIndex(positions);
  const model = new Map<number, { lat: number; lon: number }>();
  for (const { row, isGone, ...at } of steps) {
    if (isGone === 0) {
      index.remove(row);
      model.delete(row);
      continue;
    }
    positions.lat[row] = at.lat;
    positions.lon[row] = at.lon;
    index.put(row);
    model.set(row, at);
  }
  return { index, model };
}

/** Another way than the one under test: by the chord. */
function metres(a: { lat: number; lon: number }, b: { lat: number; lon: number }): number {
  const unit = ({ lat: y, lon: x }: { lat: number; lon: number }): number[] => {
    const [phi, lambda] = [(y * Math.PI) / 180, (x * Math.PI) / 180];
    return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)];
  };
  const [p, q] = [unit(a), unit(b)];
  const chord = Math.hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]);
  return 2 * 6_371_008.8 * Math.asin(Math.min(1, chord / 2));
}

test("within an area are those that lie in it", () => {
  const box = fc.tuple(point, point).map(([a, b]): Area => {
    const [south, north] = [Math.min(a.lat, b.lat), Math.max(a.lat, b.lat)];
    return new BoxArea({ west: a.lon, east: b.lon, south, north });
  });
  fc.assert(
    fc.property(moves, box, (steps, area) => {
      const { index, model } = indexOf(steps);
      const found: number[] = [];
      index.within(area, (row) => {
        found.push(row);
      });
      const expected = [...model].filter(([, at]) => area.contains(at.lat, at.lon));
      expect(found.sort((a, b) => a - b)).toEqual(
        expected.map(([row]) => row).sort((a, b) => a - b),
      );
      // and no more of them than the caller wants
      let seen = 0;
      index.within(area, () => ++seen < 3);
      expect(seen).toBe(Math.min(3, expected.length));
    }),
  );
});

test("near are the nearest within the radius, nearest first", () => {
  const radius = fc.oneof(
    fc.constantFrom(0, 1, 250, 20_015_200, 30_000_000),
    fc.double({ min: 0, max: 20_000_000, noNaN: true }),
    fc.double({ min: 0, max: 5000, noNaN: true }),
  );
  fc.assert(
    fc.property(moves, point, radius, fc.integer({ min: 1, max: 30 }), (steps, at, r, limit) => {
      const { index, model } = indexOf(steps);
      // how far a question begins to look depends on the one before
      index.near(steps[0]?.lat ?? 0, steps[0]?.lon ?? 0, 20_000_000, steps.length % 30, () => true);
      const accept = (row: number): boolean => row % 3 !== 0;
      const found = index.near(at.lat, at.lon, r, limit, accept);
      const all = [...model]
        .filter(([row]) => accept(row))
        .map(([row, place]) => ({ row, metres: metres(at, place) }))
        .sort((a, b) => a.metres - b.metres);
      // two formulas differ by some centimetres, at the antipodes by more
      const slack = 0.05 + r * 1e-5;
      const surely = all.filter((d) => d.metres <= r - slack).length;
      const maybe = all.filter((d) => d.metres <= r + slack).length;
      expect(found.length).toBeGreaterThanOrEqual(Math.min(limit, surely));
      expect(found.length).toBeLessThanOrEqual(Math.min(limit, maybe));
      for (const [i, { row, metres: distance }] of found.entries()) {
        const place = model.get(row) as { lat: number; lon: number };
        expect(Math.abs(distance - metres(at, place))).toBeLessThan(
          slack + 200 * (distance > 2e7 ? 1 : 0),
        );
        expect(Math.abs(distance - all[i].metres)).toBeLessThan(
          slack + 200 * (distance > 2e7 ? 1 : 0),
        );
        if (i > 0) expect(distance).toBeGreaterThanOrEqual(found[i - 1].metres);
      }
    }),
    { numRuns: 300 },
  );
});

test("a driver at the very place is near at a radius of 0", () => {
  const { index } = indexOf([{ row: 7, lat: 12.97, lon: 77.59, isGone: 1 }]);
  expect(index.near(12.97, 77.59, 0, 5, () => true)).toEqual([{ row: 7, metres: 0 }]);
  expect(index.near(12.97, 77.59, 100, 0, () => true)).toEqual([]);
});
