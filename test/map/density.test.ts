import { getResolution } from "h3-js";
import { expect, it } from "vitest";
import { densityOf, resolutionAt } from "../../src/map/density.ts";

it("cells are finer the closer one looks, and never too small to see", () => {
  const resolutions = Array.from({ length: 12 }, (_, zoom) => resolutionAt(zoom, 13));
  expect(resolutions.toSorted((a, b) => a - b)).toEqual(resolutions);
  expect(resolutions[0]).toBeLessThanOrEqual(2);
  expect(resolutions[9]).toBe(7);
});

it("every driver is counted in one cell", () => {
  const drivers = Array.from({ length: 500 }, (_, i) => ({
    lat: 12.9 + (i % 25) / 100,
    lon: 77.5 + Math.floor(i / 25) / 100,
    count: 1 + (i % 3),
  }));
  const cells = densityOf(drivers, 6);
  const sum = drivers.reduce((total, { count }) => total + count, 0);
  expect(cells.reduce((total, { count }) => total + count, 0)).toBe(sum);
  expect(new Set(cells.map(({ cell }) => cell)).size).toBe(cells.length);
  for (const { cell, outline } of cells) {
    expect(getResolution(cell)).toBe(6);
    expect(outline.length).toBeGreaterThanOrEqual(6);
  }
});

it("a cell across the antimeridian is in one piece", () => {
  const [{ outline }] = densityOf([{ lat: 0, lon: 180, count: 1 }], 2);
  const lons = outline.map(([lon]) => lon);
  expect(Math.max(...lons) - Math.min(...lons)).toBeLessThan(10);
});
