/** The part of the URL behind `#`: `zoom/lat/lon` and the driver, so that a view can be sent. */
export type PlaceInUrl = {
  view: { zoom: number; lat: number; lon: number } | null;
  driver: string | null;
};

export function readHash(hash: string): PlaceInUrl {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const numbers = (parameters.get("at") ?? "").split("/").map(Number);
  const [zoom, lat, lon] = numbers;
  const valid =
    numbers.length === 3 &&
    numbers.every(Number.isFinite) &&
    zoom >= 0 &&
    zoom <= 22 &&
    Math.abs(lat) <= 90 &&
    Math.abs(lon) <= 180;
  return { view: valid ? { zoom, lat, lon } : null, driver: parameters.get("driver") || null };
}

export function writeHash({ view, driver }: PlaceInUrl): string {
  const at =
    view === null ? "" : `at=${view.zoom.toFixed(2)}/${view.lat.toFixed(5)}/${view.lon.toFixed(5)}`;
  const who = driver === null ? "" : `driver=${encodeURIComponent(driver)}`;
  return `#${[at, who].filter(Boolean).join("&")}`;
}
