import { describe, expect, test } from "vitest";
import { City, cityPlans, streetKinds } from "../../devices/city.ts";
import type { CityName } from "../../devices/city.ts";
import { Routes } from "../../devices/routes.ts";

const names = Object.keys(cityPlans) as CityName[];

describe.each(names)("%s", (name) => {
  const city = new City(name);
  const { plan, streets } = city;

  test("is the same each time, and another with another seed", () => {
    expect(new City(name).streets).toEqual(streets);
    expect(new City(name, 2).streets).not.toEqual(streets);
  });

  test("lies on its extent and covers it", () => {
    const lats = Array.from(streets.y, (y) => city.lat(y));
    const lons = Array.from(streets.x, (x) => city.lon(x));
    expect(Math.min(...lats)).toBeGreaterThan(plan.south);
    expect(Math.max(...lats)).toBeLessThan(plan.north);
    expect(Math.min(...lons)).toBeGreaterThan(plan.west);
    expect(Math.max(...lons)).toBeLessThan(plan.east);
    expect(Math.max(...lats) - Math.min(...lats)).toBeGreaterThan(0.95 * (plan.north - plan.south));
    expect(Math.max(...lons) - Math.min(...lons)).toBeGreaterThan(0.95 * (plan.east - plan.west));
  });

  test("every junction has a way to every place, and the way arrives", () => {
    const routes = new Routes(city, 4);
    for (let place = 0; place < routes.count; place++) {
      const { lanes, seconds } = routes.to(place);
      for (let j = 0; j < city.junctions; j++) {
        if (lanes[j] < 0) {
          expect(seconds[j]).toBe(0);
          continue;
        }
        if (city.tail(lanes[j]) !== j || !(seconds[city.head(lanes[j])] < seconds[j])) {
          expect.fail(`junction ${j} does not lead on to place ${place}`);
        }
      }
    }
  });

  test("has streets of every kind, and tunnels on the large ones", () => {
    for (let kind = 0; kind < streetKinds.length; kind++) {
      expect(streets.kinds.filter((k) => k === kind).length).toBeGreaterThan(200);
    }
    const tunnels = [...streets.tunnels.keys()].filter((s) => streets.tunnels[s] === 1);
    expect(tunnels.length).toBeGreaterThan(20);
    for (const s of tunnels) expect(streets.kinds[s]).toBeLessThanOrEqual(1);
  });

  test("as GeoJSON has each street once", () => {
    const { type, features } = city.geoJson();
    expect(type).toBe("FeatureCollection");
    const kinds = features.map((feature) => feature.properties.kind);
    expect(kinds).toEqual([...streetKinds, "tunnel"]);
    const lines = features.flatMap((feature) => feature.geometry.coordinates);
    expect(lines.length).toBe(streets.from.length);
    for (const [[lon, lat]] of lines) {
      expect(lon).toBeGreaterThan(plan.west);
      expect(lat).toBeLessThan(plan.north);
    }
  });
});
