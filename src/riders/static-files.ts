/**
 * What the map is made of: every file that is served, by its address. There are no others: an
 * address is looked up here and never becomes a path.
 */
import { readdirSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

export type StaticFile = { path: string; type: string };

const mapDir = fileURLToPath(new URL("../map/", import.meta.url));
const packages = fileURLToPath(new URL("../../node_modules/", import.meta.url));

const types: Record<string, string> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".ts": "text/javascript; charset=utf-8",
};

/** Address below `/lib/` → file below `node_modules/`. */
const libraries: [string, string][] = [
  ["centrifuge.mjs", "centrifuge/build/index.mjs"],
  ["deck-core.js", "@deck.gl/core/dist.min.js"],
  ["deck-layers.js", "@deck.gl/layers/dist.min.js"],
  ["deck-mapbox.js", "@deck.gl/mapbox/dist.min.js"],
  ["h3-js.mjs", "h3-js/dist/browser/h3-js.es.js"],
  ["maplibre-gl.css", "maplibre-gl/dist/maplibre-gl.css"],
  ["maplibre-gl.mjs", "maplibre-gl/dist/maplibre-gl.mjs"],
  ["maplibre-gl-shared.mjs", "maplibre-gl/dist/maplibre-gl-shared.mjs"],
  ["maplibre-gl-worker.mjs", "maplibre-gl/dist/maplibre-gl-worker.mjs"],
  ["topojson-client.js", "topojson-client/dist/topojson-client.min.js"],
  ["world-atlas/countries-50m.json", "world-atlas/countries-50m.json"],
];

/**
 * Files that an operator may put into the data directory, streamed from there; `otherwise` is
 * what is there when the file is not.
 */
export const dataFiles = [
  {
    address: "/map/basemap.geojson",
    name: "basemap.geojson",
    type: "application/geo+json",
    otherwise: '{"type":"FeatureCollection","features":[]}',
  },
  {
    address: "/map/basemap.pmtiles",
    name: "basemap.pmtiles",
    type: "application/vnd.pmtiles",
    otherwise: null,
  },
] as const;

/** The map's own files, TypeScript as JavaScript, and libraries. */
export function staticFiles(): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  const serve = (address: string, path: string): void => {
    const type = types[extname(path)];
    if (type !== undefined && !path.endsWith(".d.ts")) files.set(address, { path, type });
  };
  for (const name of readdirSync(mapDir)) {
    if (name === "tsconfig.json") continue;
    serve(`/map/${name.replace(/\.ts$/, ".js")}`, join(mapDir, name));
  }
  files.delete("/map/index.html");
  serve("/", join(mapDir, "index.html"));
  for (const [address, file] of libraries) serve(`/lib/${address}`, join(packages, file));
  return files;
}
