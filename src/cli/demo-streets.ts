import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { City } from "../../devices/city.ts";

/** The simulated city's streets go where the map looks for a base map; one that is there stays. */
export function writeStreets(dataDir: string): void {
  const geoJson = JSON.stringify(new City("blr").geoJson());
  try {
    writeFileSync(join(dataDir, "basemap.geojson"), geoJson, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
