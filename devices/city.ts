import { layStreets } from "./streets.ts";

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

/**
 * A street graph. Junctions have places in metres east and north of the extent's south-west
 * corner; junction 0 is at the centre, and all can be reached from it. Street `s` can be driven both ways: lane `2s` leads from `from[s]` to `to[s]`, lane
 * `2s + 1` back.
 */
export type Streets = {
  x: Float64Array;
  y: Float64Array;
  from: Int32Array;
  to: Int32Array;
  lengths: Float64Array;
  /** Index into `streetKinds` and `speedLimits`. */
  kinds: Uint8Array;
  /** 1 where there is no radio: what a driver measures here is sent when it is out again. */
  tunnels: Uint8Array;
  /** Lanes that leave junction `j`: `lanesOut[firstOut[j]]` up to `firstOut[j + 1]`. */
  firstOut: Int32Array;
  lanesOut: Int32Array;
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
    const features = streetKinds.map((kind, index) => ({
      type: "Feature" as const,
      properties: { kind, speedLimit: speedLimits[index] },
      geometry: lines((s) => streets.kinds[s] === index && streets.tunnels[s] === 0),
    }));
    features.push({
      type: "Feature",
      properties: { kind: "tunnel" as never, speedLimit: speedLimits[1] },
      geometry: lines((s) => streets.tunnels[s] === 1),
    });
    return { type: "FeatureCollection" as const, features };
  }
}

function round6(degrees: number): number {
  return Math.round(degrees * 1e6) / 1e6;
}
