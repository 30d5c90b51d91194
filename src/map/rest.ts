/** Look-ups over REST, on the map's own origin. */
import type { Feature, FeatureCollection, LineString, Point } from "geojson";
import type { Box } from "./box.ts";
import { text } from "./box.ts";
import type { Counted } from "./density.ts";
import type { Ping } from "./ping.ts";
import type { Fix } from "./trail.ts";

type DriverFeature = Feature<Point, Omit<Ping, "id" | "lat" | "lon">>;
type Track = Feature<LineString, { times: number[] }>;

/** What a look-up gave, or why not, for people. */
export class LookUpFailure extends Error {}

/** Null: never seen. */
export async function driver(id: string): Promise<Ping | null> {
  const found = await get<DriverFeature>(`/v1/drivers/${encodeURIComponent(id)}`);
  return found === null ? null : pingOf(found);
}

/** Up to a thousand, stale ones too. */
export async function driversIn(box: Box): Promise<Ping[]> {
  const found = await get<FeatureCollection<Point, DriverFeature["properties"]>>(
    `/v1/drivers?bbox=${text(box)}&limit=1000&stale=1`,
  );
  return (found?.features ?? []).map((feature) => pingOf(feature));
}

/** How many drivers are where, in a box of any size. */
export async function counts(box: Box): Promise<Counted[]> {
  const found = await get<{ squares: [lon: number, lat: number, count: number][] }>(
    `/v1/density?bbox=${text(box)}`,
  );
  return (found?.squares ?? []).map(([lon, lat, count]) => ({ lon, lat, count }));
}

/** The last hour out of the log. */
export async function track(id: string): Promise<Fix[]> {
  const found = await get<Track>(`/v1/drivers/${encodeURIComponent(id)}/track`);
  if (found === null) return [];
  const { times } = found.properties;
  return (found.geometry?.coordinates ?? []).map(([lon, lat], i) => ({ ts: times[i], lon, lat }));
}

function pingOf({ id, geometry, properties }: DriverFeature): Ping {
  const [lon, lat] = geometry.coordinates;
  return { ...properties, id: String(id), lon, lat };
}

/** Null for 404. */
async function get<T>(path: string): Promise<T | null> {
  let response: Response;
  try {
    response = await fetch(path);
  } catch {
    throw new LookUpFailure("The gateway does not answer");
  }
  if (response.status === 404) return null;
  if (!response.ok) throw new LookUpFailure(await reasonOf(response));
  return (await response.json()) as T;
}

async function reasonOf(response: Response): Promise<string> {
  try {
    const { error } = (await response.json()) as { error: { message: string } };
    return error.message;
  } catch {
    return `The gateway answered ${response.status}`;
  }
}
