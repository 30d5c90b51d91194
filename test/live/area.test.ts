import {
  cellToBoundary,
  cellToLatLng,
  getPentagons,
  getRes0Cells,
  gridDisk,
  isPentagon,
  latLngToCell,
} from "h3-js";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Area, BoxArea, CellArea } from "../../src/live/area.ts";
import { AreaGrid } from "../../src/live/area-grid.ts";

const anyLat = fc.oneof(
  fc.double({ min: -90, max: 90, noNaN: true }),
  fc.constantFrom(90, -90, 89.999, -89.999),
);
const anyLon = fc.oneof(
  fc.double({ min: -180, max: 180, noNaN: true }),
  fc.constantFrom(180, -180, 179.9999, -179.9999),
);
const resolution = fc.nat(15);
/** Cells anywhere, and often where the grid is irregular. */
const cell = fc.oneof(
  fc.tuple(anyLat, anyLon, resolution).map(([lat, lon, r]) => latLngToCell(lat, lon, r)),
  fc.tuple(fc.nat(11), resolution).map(([i, r]) => getPentagons(r)[i]),
  fc
    .tuple(fc.nat(11), resolution, fc.nat(18))
    .map(([i, r, n]) => gridDisk(getPentagons(r)[i], 2).at(n % 16) as string),
  fc.nat(121).map((i) => getRes0Cells()[i]),
);
/** Along the way from a corner (or the middle of a side) to the centre, and beyond. */
const place = fc.record({
  corner: fc.nat(11),
  along: fc.double({ min: 0, max: 1, noNaN: true }),
  out: fc.oneof(
    fc.double({ min: 0, max: 1.6, noNaN: true }),
    fc.double({ min: 0.97, max: 1.03, noNaN: true }),
    fc.double({ min: 0.999999, max: 1.000001, noNaN: true }),
  ),
});

test("a cell contains the points whose cell it is", () => {
  fc.assert(
    fc.property(cell, fc.array(place, { minLength: 20, maxLength: 40 }), (name, places) => {
      const area = new CellArea(name);
      const corners = cellToBoundary(name);
      const centre = cellToLatLng(name);
      const r = Number.parseInt(name[1], 16);
      for (const { corner, along, out } of places) {
        const a = unit(corners[corner % corners.length]);
        const b = unit(corners[(corner + 1) % corners.length]);
        const edge = a.map((x, i) => x + (b[i] - x) * along);
        const c = unit(centre);
        const [lat, lon] = point(c.map((x, i) => x + (edge[i] - x) * out));
        expect([lat, lon, area.contains(lat, lon)]).toEqual([
          lat,
          lon,
          latLngToCell(lat, lon, r) === name,
        ]);
      }
    }),
    { numRuns: 1500 },
  );
});

test("anywhere on earth, a point lies in its own cell", () => {
  fc.assert(
    fc.property(anyLat, anyLon, resolution, (lat, lon, r) => {
      expect(new CellArea(latLngToCell(lat, lon, r)).contains(lat, lon)).toBe(true);
    }),
    { numRuns: 1500 },
  );
  expect(isPentagon(getPentagons(3)[0])).toBe(true);
});

test("the grid knows every area that a point may lie in", () => {
  const box = fc
    .tuple(anyLat, anyLon, fc.double({ min: 0.001, max: 3, noNaN: true }), anyLon, fc.nat(3))
    .map(([lat, lon, size, other, kind]): Area => {
      if (kind === 0) return new CellArea(latLngToCell(lat, lon, 5));
      const east = kind === 1 ? other : lon + size > 180 ? lon + size - 360 : lon + size;
      const [south, north] = [Math.max(-90, lat - size), Math.min(90, lat + size)];
      return new BoxArea({ west: lon, south, east, north });
    });
  const inside = fc.tuple(
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
  );
  fc.assert(
    fc.property(fc.array(box, { maxLength: 12 }), fc.array(inside), fc.nat(), (areas, at, gone) => {
      const grid = new AreaGrid<{ area: Area }>();
      const watched = areas.map((area) => ({ area }));
      for (const w of watched) grid.add(w);
      const [removed] = watched.splice(gone % Math.max(1, watched.length), 1);
      if (removed !== undefined) grid.remove(removed);
      expect(grid.size).toBe(watched.length);
      for (const w of watched) {
        const { west, south, east, north } = w.area.box;
        const width = west <= east ? east - west : east - west + 360;
        for (const [x, y] of at) {
          let lon = west + width * x;
          if (lon > 180) lon -= 360;
          const lat = south + (north - south) * y;
          if (!w.area.contains(lat, lon)) continue;
          const there = grid.at(lat, lon);
          expect(there.filter((t) => t === w).length + (grid.wide.has(w) ? 1 : 0)).toBe(1);
          if (removed !== undefined) expect(there.includes(removed)).toBe(false);
        }
      }
    }),
  );
});

function unit([lat, lon]: [number, number]): number[] {
  const [phi, lambda] = [(lat * Math.PI) / 180, (lon * Math.PI) / 180];
  return [Math.cos(phi) * Math.cos(lambda), Math.cos(phi) * Math.sin(lambda), Math.sin(phi)];
}

function point([x, y, z]: number[]): [number, number] {
  const lat = (Math.atan2(z, Math.hypot(x, y)) * 180) / Math.PI;
  return [lat, (Math.atan2(y, x) * 180) / Math.PI];
}
