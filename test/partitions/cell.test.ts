import {
  cellToLatLng,
  cellToVertexes,
  getPentagons,
  getRes0Cells,
  latLngToCell,
  vertexToLatLng,
} from "h3-js";
import { describe, expect, test } from "vitest";
import { CellCache } from "../../src/partitions/cell.ts";

const text = (cell: Uint8Array): string => Buffer.from(cell).toString("latin1");

/** A plain generator, so that a failure can be run again: mulberry32. */
function random(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

test("lower-case hex, as H3 writes it", () => {
  expect(text(new CellCache(6).cellOf(1, 12.97, 77.59))).toBe(latLngToCell(12.97, 77.59, 6));
  expect(text(new CellCache(6).cellOf(1, 12.97, 77.59))).toMatch(/^86[0-9a-f]{13}$/);
});

test("a point that stays has the very same bytes", () => {
  const cells = new CellCache(6);
  const [lat, lon] = cellToLatLng(latLngToCell(12.97, 77.59, 6));
  const cell = cells.cellOf(5, lat, lon);
  expect(cells.cellOf(5, lat + 0.001, lon)).toBe(cell);
});

describe("walks never get a cell other than H3's own", () => {
  const starts: [string, number, number][] = [
    ["a city", 12.97, 77.59],
    ["north pole", 89.999, 10],
    ["south pole", -89.999, -100],
    ["antimeridian", -17, 179.999],
    ["0,0", 0.0001, -0.0001],
    ["a pentagon", ...cellToLatLng(getPentagons(6)[3])],
    ["a corner of a pentagon", ...vertexToLatLng(cellToVertexes(getPentagons(6)[8])[2])],
    ["a corner of three faces", ...cellToLatLng(getPentagons(0)[4])],
    ["a corner of a base cell", ...vertexToLatLng(cellToVertexes(getRes0Cells()[20])[0])],
  ];
  test.each(starts)("%s", (_where, startLat, startLon) => {
    const next = random(7);
    for (const resolution of [0, 4, 6, 9, 15]) {
      const cells = new CellCache(resolution, 16);
      const stride = 0.5 / 2.65 ** resolution;
      let [lat, lon] = [startLat, startLon];
      for (let i = 0; i < 2000; i++) {
        lat += (next() - 0.5) * stride;
        lon += ((next() - 0.5) * stride) / Math.max(0.01, Math.cos((lat * Math.PI) / 180));
        lat = Math.max(-90, Math.min(90, lat));
        if (lon > 180) lon -= 360;
        if (lon < -180) lon += 360;
        const cell = text(cells.cellOf(i % 3 === 0 ? 1 : 2, lat, lon));
        if (cell !== latLngToCell(lat, lon, resolution)) {
          expect.fail(`resolution ${resolution}, ${lat},${lon}: ${cell}`);
        }
      }
    }
  });
});

test("any points of the world, through one row", () => {
  const next = random(11);
  for (const resolution of [0, 1, 2, 3]) {
    const cells = new CellCache(resolution, 1);
    for (let i = 0; i < 5000; i++) {
      const [lat, lon] = [next() * 180 - 90, next() * 360 - 180];
      const cell = text(cells.cellOf(i, lat, lon));
      if (cell !== latLngToCell(lat, lon, resolution)) expect.fail(`${lat},${lon}: ${cell}`);
    }
  }
});
