import fc from "fast-check";
import { expect, it } from "vitest";
import { parseChannel } from "../../src/live/channel-name.ts";
import { around, isWithin, serves, text, WORLD, type Box } from "../../src/map/box.ts";

/** Views as MapLibre tells them: east above west, beyond 180 when the map was dragged there. */
const view = fc
  .record({
    west: fc.double({ min: -540, max: 540, noNaN: true }),
    south: fc.double({ min: -85, max: 84, noNaN: true }),
    width: fc.double({ min: 0.001, max: 500, noNaN: true }),
    height: fc.double({ min: 0.001, max: 120, noNaN: true }),
  })
  .map(({ west, south, width, height }): Box => {
    return { west, south, east: west + width, north: Math.min(89, south + height) };
  });

it("every view has a channel that the gateway takes, and that serves it", () => {
  fc.assert(
    fc.property(view, (seen) => {
      const box = around(seen);
      expect(parseChannel(`bbox:${text(box)}`)).toMatchObject({ kind: "bbox" });
      expect(serves(box, seen)).toBe(true);
      const [lon, lat] = [(seen.west + seen.east) / 2, (seen.south + seen.north) / 2];
      expect(isWithin(box, lon, lat)).toBe(true);
    }),
  );
});

it("a short drag is served, a long one and a much closer look are not", () => {
  const seen = { west: 77, south: 12, east: 78, north: 13 };
  const box = around(seen);
  expect(serves(box, { ...seen, west: 77.1, east: 78.1 })).toBe(true);
  expect(serves(box, { ...seen, west: 78, east: 79 })).toBe(false);
  expect(serves(box, { west: 77.4, south: 12.4, east: 77.6, north: 12.6 })).toBe(false);
  expect(serves(WORLD, seen)).toBe(false);
});

it("across the antimeridian", () => {
  const box = around({ west: 170, south: -10, east: 190, north: 10 });
  expect([box.west, box.east].map(Math.round)).toEqual([164, -164]);
  expect(isWithin(box, 179, 0)).toBe(true);
  expect(isWithin(box, -179, 0)).toBe(true);
  expect(isWithin(box, 0, 0)).toBe(false);
  expect(serves(box, { west: -190, south: -10, east: -170, north: 10 })).toBe(true);
});
