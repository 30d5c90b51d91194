import { afterAll, beforeAll, expect, it } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { get, type Ping, send } from "./fleet.ts";

type Density = { squareDegrees: number; squares: [number, number, number][] };

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--stale", "1h"] });
});
afterAll(async () => {
  await gateway?.stop();
});

const now = Date.now();
const density = async (bbox: string): Promise<Density> =>
  (await get(gateway, `/v1/density?bbox=${bbox}`)).body;

it("counts drivers by square, within the box only", async () => {
  const pings: Ping[] = [
    ...[1, 2, 3].map((i) => ({ id: `a${i}`, ts: now, lat: 12.971 + i / 1e4, lon: 77.594 })),
    { id: "b", ts: now, lat: 12.985, lon: 77.594 },
    { id: "far", ts: now, lat: -33.9, lon: 151.2 },
    { id: "edge", ts: now, lat: 90, lon: 180 },
  ];
  // the whole earth in a grid: more squares than one answer has
  for (let i = 0; i < limits.densitySquaresMax + 500; i++) {
    pings.push({
      id: `g${i}`,
      ts: now,
      lat: 20 + (i % 90) / 50,
      lon: 10 + Math.floor(i / 90) / 50,
    });
  }
  await send(gateway, pings);
  expect(await density("77.5,12.9,77.7,13.1")).toEqual({
    squareDegrees: 0.01,
    squares: expect.arrayContaining([
      [77.595, 12.975, 3],
      [77.595, 12.985, 1],
    ]),
  });
  const far = await density("170,-50,160,0"); // across the antimeridian
  expect(far.squares).toEqual([[151.205, -33.895, 1]]);
  const world = await density("-180,-90,180,90");
  expect(world.squareDegrees).toBeGreaterThan(0.01);
  expect(world.squares.length).toBeLessThanOrEqual(limits.densitySquaresMax);
  expect(world.squares.reduce((sum, [, , count]) => sum + count, 0)).toBe(pings.length);
});

it("says what is wrong with a box", async () => {
  for (const query of ["", "bbox=1,2,3", "bbox=0,0,0,0", "bbox=0,0,1,1&limit=3"]) {
    const { status, body } = await get(gateway, `/v1/density?${query}`);
    expect({ query, status, code: body.error.code }).toEqual({
      query,
      status: 400,
      code: "bad_parameter",
    });
  }
});
