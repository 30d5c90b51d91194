/** The map itself: MapLibre below, deck.gl's layers above, the view and what it covers. */
import { type GeoJSONSource, LngLatBounds, Map, setWorkerUrl } from "maplibre-gl";
import type { Layer } from "@deck.gl/core";
import { layersOf, loadWorld, styleOf, type World } from "./basemap.ts";
import type { Box } from "./box.ts";
import { metresPerPixelAt } from "./density.ts";
import { element, reducedMotion } from "./page.ts";
import type { Covered } from "./panel.ts";
import { palettes, type Palette } from "./palette.ts";
import type { Theme } from "./theme.ts";

type View = { zoom: number; lat: number; lon: number };

const CITY_ZOOM = 15;
/** A fitted view keeps so many pixels free at its edges. */
const FRAME = 48;
const FRAME_PHONE = 20;

setWorkerUrl("/lib/maplibre-gl-worker.mjs");

export class Canvas {
  readonly map: Map;
  readonly #overlay = new deck.MapboxOverlay({ interleaved: false, layers: [] });
  #palette: Palette;
  #isFlying = false;

  constructor(theme: Theme, view: View | null) {
    this.#palette = palettes[theme];
    this.map = new Map({
      container: element("map"),
      style: styleOf(this.#palette),
      center: view === null ? [20, 20] : [view.lon, view.lat],
      zoom: view?.zoom ?? 1.5,
      minZoom: 1,
      maxZoom: 19,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: reducedMotion.matches ? 0 : 200,
      locale: { "Map.Title": "Map: arrow keys move it, plus and minus zoom" },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(this.#overlay);
    element("zoom-in").addEventListener("click", () => this.map.zoomIn(this.#motion));
    element("zoom-out").addEventListener("click", () => this.map.zoomOut(this.#motion));
    const world = loadWorld();
    this.map.once("style.load", () => void world.then((loaded) => this.#show(loaded)));
  }

  get palette(): Palette {
    return this.#palette;
  }

  paint(theme: Theme): void {
    this.#palette = palettes[theme];
    for (const { id, paint } of layersOf(this.#palette)) {
      for (const [name, value] of Object.entries(paint ?? {})) {
        this.map.setPaintProperty(id, name as never, value as never);
      }
    }
  }

  #show(world: World): void {
    for (const name of ["countries", "borders", "names"] as const) {
      void this.map.getSource<GeoJSONSource>(name)?.setData(world[name]);
    }
  }

  draw(layers: Layer[]): void {
    this.#overlay.setProps({ layers });
  }

  get view(): View {
    const { lng, lat } = this.map.getCenter().wrap();
    return { zoom: this.map.getZoom(), lat, lon: lng };
  }

  /** What is on screen. */
  get box(): Box {
    const bounds = this.map.getBounds();
    return {
      west: bounds.getWest(),
      south: Math.max(-90, bounds.getSouth()),
      east: bounds.getEast(),
      north: Math.min(90, bounds.getNorth()),
    };
  }

  get metresPerPixel(): number {
    const { zoom, lat } = this.view;
    return metresPerPixelAt(zoom, lat);
  }

  pixelOf(lon: number, lat: number): { x: number; y: number } {
    return this.map.project([lon, lat]);
  }

  /** All of them in view, but for the few that are far from the rest. */
  fit(places: { lon: number; lat: number }[], covered: Covered, animate: boolean): void {
    if (places.length === 0) return;
    const bounds = new LngLatBounds();
    for (const { lon, lat } of withoutStrays(places)) bounds.extend([lon, lat]);
    const frame = innerWidth < 700 ? FRAME_PHONE : FRAME;
    this.map.fitBounds(bounds, {
      padding: {
        top: frame + covered.top,
        right: frame,
        bottom: frame + covered.bottom,
        left: frame + covered.left,
      },
      maxZoom: CITY_ZOOM,
      ...(animate ? this.#motion : { duration: 0 }),
    });
  }

  flyTo(lon: number, lat: number, covered: Covered): void {
    const zoom = Math.max(CITY_ZOOM - 0.5, this.map.getZoom());
    const center: [number, number] = [lon, lat];
    const offset = offsetOf(covered);
    this.#isFlying = true;
    this.map.once("moveend", () => (this.#isFlying = false));
    if (reducedMotion.matches) this.map.easeTo({ center, zoom, offset, duration: 0 });
    else this.map.flyTo({ center, zoom, offset, speed: 2.2, maxDuration: 2500 });
  }

  get isFlying(): boolean {
    return this.#isFlying;
  }

  /** Moves the map only when the place is covered, or nearly. */
  bringIntoView(lon: number, lat: number, covered: Covered): void {
    const { x, y } = this.pixelOf(lon, lat);
    const { left, top, bottom } = covered;
    const isFree =
      x > left + FRAME_PHONE &&
      x < innerWidth - FRAME_PHONE &&
      y > top + FRAME &&
      y < innerHeight - bottom - FRAME;
    if (isFree) return;
    this.map.easeTo({ center: [lon, lat], offset: offsetOf(covered), ...this.#motion });
  }

  /** Without animation: the place glides by itself. */
  keepAt(lon: number, lat: number, covered: Covered): void {
    this.map.easeTo({ center: [lon, lat], offset: offsetOf(covered), duration: 0 });
  }

  get #motion(): { duration: number } {
    return { duration: reducedMotion.matches ? 0 : 350 };
  }
}

/** The middle of what is not covered, from the middle of the map. */
function offsetOf({ left, top, bottom }: Covered): [number, number] {
  return [left / 2, (top - bottom) / 2];
}

/** The middle 98 % by either coordinate, when there are enough. */
function withoutStrays<T extends { lon: number; lat: number }>(places: T[]): T[] {
  if (places.length < 50) return places;
  const range = (values: number[]): [number, number] => {
    const sorted = values.toSorted((a, b) => a - b);
    const cut = Math.ceil(sorted.length / 100);
    return [sorted[cut], sorted[sorted.length - 1 - cut]];
  };
  const [west, east] = range(places.map(({ lon }) => lon));
  const [south, north] = range(places.map(({ lat }) => lat));
  return places.filter(
    ({ lon, lat }) => lon >= west && lon <= east && lat >= south && lat <= north,
  );
}
