import fc from "fast-check";
import { latLngToCell } from "h3-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { get, type Ping, send } from "./fleet.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--stale", "1h"] });
});
afterAll(async () => {
  await gateway?.stop();
});

type Feature = {
  type: string;
  id: string;
  geometry: { type: string; coordinates: [number, number] };
  properties: Record<string, any>;
};

const now = Date.now();
const feature = async (id: string): Promise<Feature> =>
  (await get(gateway, `/v1/drivers/${encodeURIComponent(id)}`)).body;
const features = async (query: string): Promise<Feature[]> =>
  (await get(gateway, `/v1/drivers?${query}`)).body.features;

/** Metres between two points, by the haversine. */
function metres(latA: number, lonA: number, latB: number, lonB: number): number {
  const r = Math.PI / 180;
  const h =
    Math.sin(((latB - latA) * r) / 2) ** 2 +
    Math.cos(latA * r) * Math.cos(latB * r) * Math.sin(((lonB - lonA) * r) / 2) ** 2;
  return 2 * 6_371_008.8 * Math.asin(Math.min(1, Math.sqrt(h)));
}

describe("one driver", () => {
  it("is a GeoJSON feature with the ping's other fields", async () => {
    const before = Date.now();
    await send(gateway, [
      { id: "one", ts: now, lat: 12.9716, lon: 77.5946, speed: 3.5, trip: "t 1", mine: { a: [1] } },
    ]);
    const { status, body, headers } = await get(gateway, "/v1/drivers/one");
    expect(status).toBe(200);
    expect(headers.get("content-type")).toBe("application/geo+json");
    expect(headers.get("x-content-type-options")).toBe("nosniff");
    expect(headers.get("server")).toBeNull();
    const { received, ...rest } = body.properties;
    expect(received).toBeGreaterThanOrEqual(before);
    expect({ ...body, properties: rest }).toEqual({
      type: "Feature",
      id: "one",
      geometry: { type: "Point", coordinates: [77.5946, 12.9716] },
      properties: { ts: now, speed: 3.5, trip: "t 1", mine: { a: [1] }, stale: false },
    });
  });

  it("is found by any id that a ping may have", async () => {
    const ids = [
      'say "hi"',
      "back\\slash",
      "héllo 🚚",
      "a?b&c=d",
      "...",
      "100%",
      "__proto__",
      "track",
    ];
    await send(
      gateway,
      ids.map((id, i) => ({ id, ts: now, lat: i, lon: 100 + i })),
    );
    for (const [i, id] of ids.entries()) {
      const found = await feature(id);
      expect([found.id, found.geometry.coordinates]).toEqual([id, [100 + i, i]]);
    }
  });

  it("shows the latest by fix time", async () => {
    await send(gateway, [
      { id: "late", ts: now, lat: 1, lon: 2 },
      { id: "late", ts: now - 60_000, lat: 3, lon: 4 },
    ]);
    expect((await feature("late")).geometry.coordinates).toEqual([2, 1]);
  });

  it.each([
    ["never-seen", 404, "not_found"],
    ["a%2Fb", 400, "bad_id"],
    ["%00", 400, "bad_id"],
    ["a%2Bb", 400, "bad_id"],
    ["x".repeat(129), 400, "bad_id"],
    ["%zz", 400, "bad_request"],
    ["%ff", 400, "bad_request"],
    ["one?verbose=1", 400, "bad_parameter"],
    ["one/", 404, "not_found"],
    ["one/more", 404, "not_found"],
  ])("%s: %i %s", async (path, status, code) => {
    const answer = await get(gateway, `/v1/drivers/${path}`);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
    expect(typeof answer.body.error.message).toBe("string");
  });
});

describe("many drivers", () => {
  const city: Ping[] = [];
  beforeAll(async () => {
    let seed = 7;
    const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    for (let i = 0; i < 3000; i++) {
      // a crowd around a point on the antimeridian, and some all over the earth
      const isNear = i < 2500;
      const lat = isNear ? -17 + (random() - 0.5) / 4 : (random() - 0.5) * 180;
      const lon = isNear ? 180 + (random() - 0.5) / 4 : (random() - 0.5) * 360;
      city.push({ id: `c${i}`, ts: now, lat, lon: lon > 180 ? lon - 360 : lon, seq: i });
    }
    await send(gateway, city);
  });
  /** Those of the other tests are elsewhere in the world, and not looked at. */
  const ofCity = (found: Feature[]): string[] =>
    found.filter(({ id }) => /^c\d/.test(id)).map(({ id }) => id);

  it("near a point, nearest first, with their distances", async () => {
    const point = fc.record({
      lat: fc.double({ min: -17.2, max: -16.8, noNaN: true }),
      lon: fc.oneof(
        fc.double({ min: 179.8, max: 180, noNaN: true }),
        fc.double({ min: -180, max: -179.8, noNaN: true }),
      ),
      radius: fc.integer({ min: 1, max: 50_000 }),
      limit: fc.integer({ min: 1, max: 1000 }),
    });
    await fc.assert(
      fc.asyncProperty(point, async ({ lat, lon, radius, limit }) => {
        const found = await features(`near=${lon},${lat}&radius=${radius}&limit=${limit}`);
        const model = city
          .map((p) => ({ id: p.id, metres: metres(lat, lon, p.lat, p.lon) }))
          .filter((p) => p.metres <= radius)
          .sort((a, b) => a.metres - b.metres)
          .slice(0, limit);
        expect(found.map((f) => f.id)).toEqual(model.map((p) => p.id));
        for (const [i, { properties }] of found.entries()) {
          expect(properties.distance).toBeCloseTo(model[i].metres, 0);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("in a box, which may lie across the antimeridian", async () => {
    const box = fc.record({
      west: fc.double({ min: -180, max: 180, noNaN: true }),
      east: fc.double({ min: -180, max: 180, noNaN: true }),
      south: fc.double({ min: -90, max: 89, noNaN: true }),
      height: fc.double({ min: 0.1, max: 60, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(box, async ({ west, east, south, height }) => {
        fc.pre(Math.abs(west - east) > 1e-9);
        const north = Math.min(90, south + height);
        const found = await features(`bbox=${west},${south},${east},${north}&limit=1000`);
        const model = city.filter(({ lat, lon }) => {
          const isBetween = west < east ? lon >= west && lon <= east : lon >= west || lon <= east;
          return isBetween && lat >= south && lat <= north;
        });
        const known = new Set(model.map(({ id }) => id));
        expect(ofCity(found).filter((id) => !known.has(id))).toEqual([]);
        if (found.length < 1000) expect(ofCity(found)).toHaveLength(model.length);
      }),
      { numRuns: 60 },
    );
  });

  it("in a cell of any resolution", async () => {
    const of = fc.record({
      i: fc.integer({ min: 0, max: city.length - 1 }),
      resolution: fc.integer({ min: 0, max: 15 }),
    });
    await fc.assert(
      fc.asyncProperty(of, async ({ i, resolution }) => {
        const cell = latLngToCell(city[i].lat, city[i].lon, resolution);
        const found = await features(`cell=${cell}&limit=1000`);
        const model = city.filter((p) => latLngToCell(p.lat, p.lon, resolution) === cell);
        const known = new Set(model.map(({ id }) => id));
        expect(ofCity(found).filter((id) => !known.has(id))).toEqual([]);
        if (found.length < 1000) expect(ofCity(found)).toHaveLength(model.length);
      }),
      { numRuns: 60 },
    );
  });

  it("gives 20 unless told otherwise, within 5 km", async () => {
    const { lon, lat } = city[0];
    const found = await features(`near=${lon},${lat}`);
    expect(found.length).toBeLessThanOrEqual(20);
    expect(found[0].id).toBe("c0");
    expect(found.every(({ properties }) => properties.distance <= 5000)).toBe(true);
    expect(await features("bbox=-180,-90,180,90")).toHaveLength(20);
  });

  it("answers an empty collection where nobody is", async () => {
    const { status, body } = await get(gateway, "/v1/drivers?near=0.5,-60&radius=1");
    expect([status, body]).toEqual([200, { type: "FeatureCollection", features: [] }]);
  });

  it.each([
    "",
    "near=77,12&bbox=1,2,3,4",
    "near=77",
    "near=77,12,1",
    "near=181,0",
    "near=0,91",
    "near=a,b",
    "near=0x10,1",
    "near=NaN,1",
    "near=Infinity,1",
    "near=1e999,1",
    `near=${"1".repeat(500)},1`,
    "near=77,12&radius=0",
    "near=77,12&radius=100001",
    "near=77,12&radius=-5",
    "near=77,12&limit=0",
    "near=77,12&limit=1001",
    "near=77,12&limit=2.5",
    "near=77,12&stale=yes",
    "near=77,12&raduis=5",
    "near=77,12&__proto__=5",
    "bbox=1,2,3",
    "bbox=1,2,3,4,5",
    "bbox=10,20,5,10",
    "bbox=1,1,1,2",
    "bbox=-181,0,0,1",
    "bbox=0,0,1,91",
    "bbox=0,0,1,1&radius=5",
    "cell=",
    "cell=nonsense",
    "cell=8928308280fffff0",
    "cell=0000000000000ff",
    "cell=8928308280FFFFF",
    "cell=../../etc",
    Array.from({ length: 300 }, (_, i) => `p${i}=1`).join("&"),
  ])("refuses ?%s with a reason", async (query) => {
    const { status, body } = await get(gateway, `/v1/drivers?${query}`);
    expect([status, body.error.code]).toEqual([400, "bad_parameter"]);
    expect(body.error.message.length).toBeGreaterThan(10);
    expect(body.error.message.length).toBeLessThan(300);
  });
});
