import fc from "fast-check";
import { expect, it } from "vitest";
import { readHash, writeHash } from "../../src/map/place-in-url.ts";

it("a view and a driver come back as they were written", () => {
  const view = fc.record({
    zoom: fc.integer({ min: 0, max: 22 }),
    lat: fc.integer({ min: -85, max: 85 }),
    lon: fc.integer({ min: -180, max: 180 }),
  });
  const driver = fc.string({ unit: "binary", minLength: 1 });
  fc.assert(
    fc.property(fc.option(view), fc.option(driver), (seen, who) => {
      expect(readHash(writeHash({ view: seen, driver: who }))).toEqual({ view: seen, driver: who });
    }),
  );
});

it("what is no view is passed over", () => {
  for (const hash of ["", "#", "#at=", "#at=1/2", "#at=a/b/c", "#at=99/0/0", "#at=1/91/0"]) {
    expect(readHash(hash)).toEqual({ view: null, driver: null });
  }
});
