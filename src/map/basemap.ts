/** Land, borders and streets: all from the gateway itself, labels in the machine's own fonts. */
import type { FeatureCollection, MultiLineString, Point, Polygon, Position } from "geojson";
import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import type { Palette } from "./palette.ts";

export type World = {
  countries: FeatureCollection;
  borders: MultiLineString;
  names: FeatureCollection;
};

const FONT = ["system-ui", "sans-serif"];
const empty: FeatureCollection = { type: "FeatureCollection", features: [] };

/** Natural Earth at 1 : 50 million. */
export async function loadWorld(): Promise<World> {
  const response = await fetch("/lib/world-atlas/countries-50m.json");
  const atlas = (await response.json()) as Parameters<typeof topojson.feature>[0];
  const object = atlas.objects.countries as Parameters<typeof topojson.mesh>[1];
  const countries = topojson.feature(atlas, object as never) as unknown as FeatureCollection;
  const borders = topojson.mesh(atlas, object, (a, b) => a !== b);
  return { countries, borders, names: namesOf(countries) };
}

/** Without land and borders: those come later, by `setData`. */
export function styleOf(palette: Palette): StyleSpecification {
  return {
    version: 8,
    sources: {
      countries: { type: "geojson", data: empty, tolerance: 0.2 },
      borders: { type: "geojson", data: empty, tolerance: 0.2 },
      names: { type: "geojson", data: empty },
      // of the data directory: the demo's streets, or the operator's own
      streets: { type: "geojson", data: "/map/basemap.geojson", tolerance: 0.2 },
    },
    layers: layersOf(palette),
  };
}

export function layersOf(palette: Palette): LayerSpecification[] {
  return [
    { id: "water", type: "background", paint: { "background-color": palette.water } },
    {
      id: "land",
      type: "fill",
      source: "countries",
      paint: { "fill-color": palette.land, "fill-antialias": false },
    },
    line("coast", "countries", palette.coast, 0.8),
    line("borders", "borders", palette.border, ["interpolate", ["linear"], ["zoom"], 2, 0.6, 8, 2]),
    street("local", palette.local, 10.5, 1.1),
    street("collector", palette.collector, 9.5, 1.7),
    street("arterial", palette.arterial, 8, 2.6),
    street("tunnel", palette.arterial, 9.5, 2.2, [2, 1.2]),
    street("ring", palette.ring, 7, 3),
    {
      id: "names",
      type: "symbol",
      source: "names",
      maxzoom: 8,
      filter: ["<=", ["get", "minzoom"], ["zoom"]],
      layout: {
        "text-field": ["get", "name"],
        "text-font": FONT,
        "text-size": ["interpolate", ["linear"], ["zoom"], 2, 10.5, 6, 14],
        "text-letter-spacing": 0.04,
        "text-max-width": 8,
        "symbol-sort-key": ["get", "minzoom"],
      },
      paint: {
        "text-color": palette.label,
        "text-halo-color": palette.halo,
        "text-halo-width": 1.2,
      },
    },
  ];
}

function line(
  id: string,
  source: string,
  color: string,
  width: number | ExpressionSpecification,
): LayerSpecification {
  const paint = { "line-color": color, "line-width": width };
  return { id, type: "line", source, layout: { "line-join": "round" }, paint };
}

/** A kind of street; lines of no kind are drawn as local streets. */
function street(
  kind: string,
  color: string,
  minzoom: number,
  width: number,
  dash?: number[],
): LayerSpecification {
  return {
    id: `street-${kind}`,
    type: "line",
    source: "streets",
    minzoom,
    filter: ["==", ["coalesce", ["get", "kind"], "local"], kind],
    layout: { "line-cap": dash ? "butt" : "round", "line-join": "round" },
    paint: {
      "line-color": color,
      "line-opacity": ["interpolate", ["linear"], ["zoom"], minzoom, 0, minzoom + 1, 1],
      "line-width": [
        "interpolate",
        ["exponential", 1.5],
        ["zoom"],
        minzoom,
        width * 0.3,
        12,
        width,
        18,
        width * 9,
      ],
      ...(dash && { "line-dasharray": dash }),
    },
  };
}

/** A label for each country, in the middle of its largest part; small countries come later. */
function namesOf({ features }: FeatureCollection): FeatureCollection {
  const named = features.flatMap(({ geometry, properties }) => {
    const parts: Polygon["coordinates"][] =
      geometry.type === "MultiPolygon"
        ? geometry.coordinates
        : geometry.type === "Polygon"
          ? [geometry.coordinates]
          : [];
    const rings = parts.map((part) => centroid(part[0])).toSorted((a, b) => b.area - a.area);
    if (rings.length === 0) return [];
    const { area, at } = rings[0];
    const minzoom = area > 150 ? 2 : area > 30 ? 3 : area > 6 ? 4 : 5.5;
    const point: Point = { type: "Point", coordinates: at };
    const { name } = properties as { name: string };
    return [{ type: "Feature" as const, properties: { name, minzoom }, geometry: point }];
  });
  return { type: "FeatureCollection", features: named };
}

/** Of a ring, in square degrees; near enough for a label. */
function centroid(ring: Position[]): { area: number; at: Position } {
  let [twice, x, y] = [0, 0, 0];
  for (let i = 1; i < ring.length; i++) {
    const [ax, ay] = ring[i - 1];
    const [bx, by] = ring[i];
    const cross = ax * by - bx * ay;
    twice += cross;
    x += (ax + bx) * cross;
    y += (ay + by) * cross;
  }
  return { area: Math.abs(twice / 2), at: [x / (3 * twice), y / (3 * twice)] };
}
