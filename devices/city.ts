import { layStreets } from "./streets.ts";
import type { Streets } from "./streets.ts";

/** Kinds of street, fastest first; limits in m/s. */
export const streetKinds = ["ring", "arterial", "collector", "local"] as const;
export const speedLimits: readonly number[] = [80, 60, 45, 30].map((kmh) => kmh / 3.6);

export type CityName = "blr" | "del";

export type CityPlan = {
  title: string;
  west: number;
  south: number;
  east: number;
  north: number;
  centre: readonly [lon: number, lat: number];
  /** Height of the city above the sea, m. */
  altitude: number;
  /** Radii of the ring roads, m. */
  rings: readonly number[];
  radials: number;
};

/** Cities of real extent; their streets are invented, but laid out as their like grow. */
export const cityPlans: Record<CityName, CityPlan> = {
  blr: {
    title: "Bengaluru",
    west: 77.45,
    south: 12.8,
    east: 77.8,
    north: 13.15,
    centre: [77.5946, 12.9716],
    altitude: 905,
    rings: [2600, 7000, 13_000],
    radials: 11,
  },
  del: {
    title: "Delhi",
    west: 76.95,
    south: 28.4,
    east: 77.4,
    north: 28.88,
    centre: [77.2167, 28.6315],
    altitude: 216,
    rings: [3200, 8500, 15_000, 21_000],
    radials: 13,
  },
};

const metresPerDegree = 111_195;

export class City {
  readonly name: CityName;
  readonly plan: CityPlan;
  readonly streets: Streets;
  readonly #metresPerLon: number;

  /** The streets of a city are the same whatever fleet drives in it, so that maps can show them. */
  constructor(name: CityName, seed = 1) {
    const plan = cityPlans[name];
    this.name = name;
    this.plan = plan;
    const middle = ((plan.south + plan.north) / 2) * (Math.PI / 180);
    this.#metresPerLon = metresPerDegree * Math.cos(middle);
    this.streets = layStreets({
      seed,
      width: (plan.east - plan.west) * this.#metresPerLon,
      height: (plan.north - plan.south) * metresPerDegree,
      centreX: (plan.centre[0] - plan.west) * this.#metresPerLon,
      centreY: (plan.centre[1] - plan.south) * metresPerDegree,
      rings: plan.rings,
      radials: plan.radials,
    });
  }

  get junctions(): number {
    return this.streets.x.length;
  }

  lat(y: number): number {
    return this.plan.south + y / metresPerDegree;
  }

  lon(x: number): number {
    return this.plan.west + x / this.#metresPerLon;
  }

  /** Junction a lane leads to. */
  head(lane: number): number {
    return lane & 1 ? this.streets.from[lane >> 1] : this.streets.to[lane >> 1];
  }

  /** Junction a lane starts at. */
  tail(lane: number): number {
    return lane & 1 ? this.streets.to[lane >> 1] : this.streets.from[lane >> 1];
  }

  /** GeoJSON for maps: a MultiLineString for each kind of street, and one for the tunnels. */
  geoJson() {
    const { streets } = this;
    const place = (j: number) => [round6(this.lon(streets.x[j])), round6(this.lat(streets.y[j]))];
    const lines = (wanted: (street: number) => boolean) => {
      const coordinates: number[][][] = [];
      for (let s = 0; s < streets.from.length; s++) {
        if (wanted(s)) coordinates.push([place(streets.from[s]), place(streets.to[s])]);
      }
      return { type: "MultiLineString" as const, coordinates };
    };
    const feature = (kind: string, speedLimit: number, wanted: (street: number) => boolean) => ({
      type: "Feature" as const,
      properties: { kind, speedLimit },
      geometry: lines(wanted),
    });
    const open = (index: number) => (s: number) =>
      streets.kinds[s] === index && streets.tunnels[s] === 0;
    const features = streetKinds.map((kind, k) => feature(kind, speedLimits[k], open(k)));
    features.push(feature("tunnel", speedLimits[1], (s) => streets.tunnels[s] === 1));
    return { type: "FeatureCollection" as const, features };
  }
}

function round6(degrees: number): number {
  return Math.round(degrees * 1e6) / 1e6;
}
